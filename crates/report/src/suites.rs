//! Suites: their names, and what each alone ran.

use podcov_profile::{Coverage, SuiteCoverage};

use crate::text;

/// A part of the input, such as unit or end-to-end tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// If its coverage is of an earlier time: the file that has it.
    pub carried_from: Option<String>,
}

impl Suite {
    /// The sentence that tells that its coverage is of an earlier time.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let file = self.carried_from.as_ref()?;
        Some(format!(
            "{} did not run: its coverage is carried forward from {}",
            self.name,
            text::printable(file)
        ))
    }
}

/// The statements that only one suite ran, that several ran, and that none ran: together all.
#[must_use]
pub fn shares(suites: &[Suite], coverage: &SuiteCoverage) -> Vec<(String, Coverage)> {
    let only = suites.iter().zip(&coverage.only);
    let mut shares: Vec<_> = only.map(|(suite, only)| (format!("only {}", suite.name), *only)).collect();
    if suites.len() > 1 {
        shares.push(("in several suites".to_owned(), coverage.several));
    }
    shares.push(("in no suite".to_owned(), coverage.none));
    shares
}
