//! The shape of `skaffold.yaml`, as far as this crate executes it.
//!
//! Unknown fields are refused everywhere, also in profiles that are not asked for: one of those could switch
//! itself on by its `activation`. Skaffold's own definition is `pkg/skaffold/schema/latest/config.go`.

use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    /// Names the configuration; nothing of it is executed.
    #[serde(default, rename = "metadata")]
    _metadata: Option<IgnoredAny>,
    #[serde(default)]
    pub(crate) build: Build,
    #[serde(default)]
    pub(crate) manifests: Manifests,
    #[serde(default)]
    pub(crate) deploy: Deploy,
    #[serde(default)]
    pub(crate) profiles: Vec<Profile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) name: String,
    #[serde(default)]
    build: Build,
    #[serde(default)]
    manifests: Manifests,
    #[serde(default)]
    deploy: Deploy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Build {
    pub(crate) artifacts: Vec<Artifact>,
    /// Whether to push; images always are here.
    #[serde(rename = "local")]
    _local: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Artifact {
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) context: String,
    pub(crate) ko: Option<Ko>,
    pub(crate) custom: Option<Custom>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Custom {
    pub(crate) build_command: String,
    /// When to build again; everything is always built here.
    #[serde(default, rename = "dependencies")]
    _dependencies: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ko {
    #[serde(rename = "fromImage")]
    pub(crate) from_image: Option<String>,
    pub(crate) main: String,
    pub(crate) flags: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Manifests {
    pub(crate) kustomize: Option<Kustomize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kustomize {
    pub(crate) paths: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Deploy {
    pub(crate) kubectl: Option<Kubectl>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kubectl {
    pub(crate) hooks: Hooks,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hooks {
    pub(crate) before: Vec<Hook>,
    pub(crate) after: Vec<Hook>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Hook {
    Host(HostHook),
    Container(IgnoredAny),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostHook {
    pub(crate) command: Vec<String>,
}

impl File {
    /// Lays a profile over the file, as `applyProfile` in Skaffold's `pkg/skaffold/schema/profiles.go` does:
    /// plain sections merge field by field, but a list that has items, and an optional section that is there
    /// (`kustomize`, `kubectl`), replaces the one below it whole.
    pub(crate) fn apply(&mut self, profile: Profile) {
        if !profile.build.artifacts.is_empty() {
            self.build.artifacts = profile.build.artifacts;
        }
        if profile.manifests.kustomize.is_some() {
            self.manifests.kustomize = profile.manifests.kustomize;
        }
        if profile.deploy.kubectl.is_some() {
            self.deploy.kubectl = profile.deploy.kubectl;
        }
    }
}
