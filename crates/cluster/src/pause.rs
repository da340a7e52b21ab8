//! The pauses of a loop that tries again.

use std::time::Duration;

/// Pauses of which each is a multiple of the one before it, up to the longest.
#[derive(Debug, Clone)]
pub struct Pauses {
    next: Duration,
    factor: u32,
    longest: Duration,
}

impl Pauses {
    /// Pauses that begin with `first`.
    #[must_use]
    pub const fn new(first: Duration, factor: u32, longest: Duration) -> Self {
        Self { next: first, factor, longest }
    }

    /// How long the next pause is.
    pub fn next_length(&mut self) -> Duration {
        let length = self.next;
        self.next = (length * self.factor).min(self.longest);
        length
    }

    /// Waits for as long as the next pause is.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_length()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_a_multiple_of_the_one_before_up_to_the_longest() {
        let mut pauses = Pauses::new(Duration::from_millis(10), 3, Duration::from_millis(100));
        let lengths = [(); 5].map(|()| pauses.next_length().as_millis());
        assert_eq!(lengths, [10, 30, 90, 100, 100]);
    }
}
