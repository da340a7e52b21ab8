//! The namespaces a post-deploy hook is told of.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::label::documents;

/// What `SKAFFOLD_NAMESPACES` holds after a deployment: `configured` and the namespaces that the manifests
/// name, sorted. As in Skaffold, manifests that name none leave `configured` as it is, which may be one empty
/// name, and as soon as they name one the empty name goes.
///
/// # Errors
/// When the manifests are not YAML.
pub fn post_deploy_namespaces(configured: &[String], manifests: &str) -> Result<Vec<String>> {
    let objects = documents(manifests)?;
    let named = objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str()).map(str::trim);
    let named: BTreeSet<_> = named.filter(|name| !name.is_empty()).collect();
    if named.is_empty() {
        return Ok(configured.to_vec());
    }
    let all: BTreeSet<_> = configured.iter().map(String::as_str).chain(named).collect();
    Ok(all.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_the_manifests_come_in() {
        let names = |configured: &[&str], manifests| {
            let configured: Vec<_> = configured.iter().map(|&name| name.to_owned()).collect();
            post_deploy_namespaces(&configured, manifests).unwrap()
        };
        let none = "{kind: Pod, metadata: {name: p}}\n---\n{kind: Pod, metadata: {namespace: ''}}";
        assert_eq!(names(&[""], none), [""]);
        assert_eq!(names(&[], none), [""; 0]);
        let two = "{kind: Pod, metadata: {namespace: shop}}\n---\n{kind: Pod, metadata: {namespace: bank}}";
        assert_eq!(names(&[""], two), ["bank", "shop"]);
        assert_eq!(names(&["shop", "own"], two), ["bank", "own", "shop"]);
    }
}
