//! The software bill of materials, as SPDX 2.3 in JSON.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::archive::sha256;
use crate::linked::{Crate, Program};

const NONE: &str = "NOASSERTION";

/// Which crates are linked into which program. `name` is the archive's, `programs` each with its bytes, `epoch` the time
/// of its making.
pub(crate) fn spdx(name: &str, programs: &[(&Program, &[u8])], epoch: u64) -> Result<Value> {
    let created = Timestamp::from_second(epoch.try_into()?).context("a time")?;
    let (mut packages, mut relationships, mut all) = (Vec::new(), Vec::new(), Vec::new());
    let mut hashes = String::new();
    for (program, bytes) in programs {
        let (id, hash) = (format!("SPDXRef-{}", program.name), sha256(bytes));
        hashes.push_str(&hash);
        packages.push(json!({
            "SPDXID": id,
            "name": program.name,
            "versionInfo": env!("CARGO_PKG_VERSION"),
            "downloadLocation": NONE,
            "filesAnalyzed": false,
            "licenseConcluded": NONE,
            "licenseDeclared": "Apache-2.0",
            "copyrightText": NONE,
            "primaryPackagePurpose": "APPLICATION",
            "checksums": [{"algorithm": "SHA256", "checksumValue": hash}],
        }));
        relationships.push(relationship("SPDXRef-DOCUMENT", "DESCRIBES", &id));
        for one in &program.crates {
            relationships.push(relationship(&id, "STATIC_LINK", &id_of(one)));
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    packages.extend(all.into_iter().map(package));
    Ok(json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        // It names this document alone; nothing has to be there.
        "documentNamespace": format!("https://spdx.org/spdxdocs/{name}-{}", sha256(hashes.as_bytes())),
        "creationInfo": {
            "created": created.to_string(),
            "creators": [concat!("Tool: podcov-packaging-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    }))
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

/// Letters, digits, `.` and `-` may be in it.
fn id_of(one: &Crate) -> String {
    let text = format!("SPDXRef-crate-{}-{}", one.name, one.version);
    text.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-'), "-")
}

fn package(one: &Crate) -> Value {
    let hash = one.checksum.as_ref().map(|hash| json!({"algorithm": "SHA256", "checksumValue": hash}));
    json!({
        "SPDXID": id_of(one),
        "name": one.name,
        "versionInfo": one.version,
        "downloadLocation": NONE,
        "filesAnalyzed": false,
        "licenseConcluded": NONE,
        "licenseDeclared": one.license,
        "copyrightText": NONE,
        "checksums": Vec::from_iter(hash),
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": format!("pkg:cargo/{}@{}", one.name, one.version.replace('+', "%2B")),
        }],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_crate_is_a_package_once_and_linked_into_each_program() {
        let one = Crate {
            name: "left_pad".to_owned(),
            version: "1.0.0+x".to_owned(),
            license: "MIT".to_owned(),
            checksum: Some("abc".to_owned()),
            folder: "/".into(),
        };
        let program = |name: &str| Program {
            name: name.to_owned(),
            file: "/".into(),
            crates: BTreeSet::from([one.clone()]),
        };
        let (hooks, agent) = (program("podcov"), program("podcov-agent"));
        let spdx = spdx("podcov-1-linux-amd64", &[(&hooks, b"1"), (&agent, b"2")], 1_700_000_000).unwrap();
        let names: Vec<_> =
            spdx["packages"].as_array().unwrap().iter().map(|package| &package["SPDXID"]).collect();
        assert_eq!(names, ["SPDXRef-podcov", "SPDXRef-podcov-agent", "SPDXRef-crate-left-pad-1.0.0-x"]);
        let links = spdx["relationships"].as_array().unwrap().iter();
        let links: Vec<_> = links.filter(|link| link["relationshipType"] == "STATIC_LINK").collect();
        assert_eq!(links.len(), 2);
        assert_eq!(links[1]["relatedSpdxElement"], "SPDXRef-crate-left-pad-1.0.0-x");
        assert_eq!(spdx["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        assert_eq!(
            spdx["packages"][2]["externalRefs"][0]["referenceLocator"],
            "pkg:cargo/left_pad@1.0.0%2Bx"
        );
    }
}
