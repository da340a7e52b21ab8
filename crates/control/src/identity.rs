//! Who answers on a control endpoint, and whether that is the agent that was meant.
//!
//! A port-forward leads to a port in a pod's network, and several agents may listen there: containers of a pod share
//! their addresses, and all pods on a host's network share those of the node. What listens there may also be no agent at
//! all. So the agent says where it runs, as far as it knows, and the hook compares that with what Kubernetes says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Nonce, Token};

/// What [`Identity::agent`] is.
pub const AGENT: &str = "podcov-agent";

/// Where an agent runs, as far as it knows. Each field says how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`AGENT`].
    pub agent: String,
    /// Its version.
    pub version: String,
    /// The pod's namespace: `PODCOV_NAMESPACE`, else the one in the service account's files.
    pub namespace: Option<String>,
    /// The pod's name: `PODCOV_POD`.
    pub pod: Option<String>,
    /// The pod's UID: `PODCOV_POD_UID`.
    pub pod_uid: Option<String>,
    /// The host's name: the variable `HOSTNAME`, else the kernel's. It is the pod's name, but for pods on the host's
    /// network and those whose spec sets another.
    pub hostname: String,
    /// The container's name: `PODCOV_CONTAINER`.
    pub container: Option<String>,
    /// The program's file name, which serves where [`Identity::container`] is not known.
    pub program: String,
}

/// The answer of an agent that is asked who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// Where it runs.
    #[serde(flatten)]
    pub identity: Identity,
    /// What the next request on the connection must sign. `None` where the agent has no token.
    pub challenge: Option<Nonce>,
    /// The proof that the agent has the token. `None` where it has none.
    proof: Option<String>,
}

/// The container whose agent is meant, as Kubernetes knows it.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedIdentity<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The pod's UID.
    pub pod_uid: &'a str,
    /// The host's name as the pod's containers have it. `None` for a pod on the host's network.
    pub hostname: Option<&'a str>,
    /// The container's name.
    pub container: &'a str,
    /// No other container of the pod can have its agent on this port.
    pub only_container: bool,
}

/// Why an agent is not the one that was meant: the end of a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It says that it is another pod's.
    #[error(
        "is that of {0}; podcov-agents that share a network each need a port of their own, PODCOV_CONTROL, and their \
         pod's name, PODCOV_POD"
    )]
    OtherPod(String),
    /// It does not say whose it is, and could be any pod's of the node.
    #[error(
        "does not know its pod, and pods on the host's network share their ports; set PODCOV_POD_UID from \
         metadata.uid, or PODCOV_POD and PODCOV_NAMESPACE"
    )]
    UnknownPod,
    /// It is another container's of the same pod.
    #[error(
        "is that of container {0}; podcov-agents of one pod each need PODCOV_CONTAINER, their container's name, and a \
         PODCOV_CONTROL of their own"
    )]
    OtherContainer(String),
    /// It says that it has no token, or its proof is wrong.
    #[error("does not prove that it has the token in PODCOV_TOKEN")]
    NoProof,
}

impl Introduction {
    /// The answer to a hook's nonce. Where there is a token, `challenge` is what the hook must sign next.
    #[must_use]
    pub fn new(identity: Identity, token: Option<&Token>, nonce: &Nonce, challenge: &Nonce) -> Self {
        let proof = token.map(|token| {
            let texts = identity.texts(nonce, challenge);
            token.prove(b"identity", &texts.iter().map(String::as_str).collect::<Vec<_>>())
        });
        Self { challenge: token.map(|_| challenge.clone()), proof, identity }
    }

    /// Whether the agent is that of `expected` and, where the caller has a token, has that too. `nonce` is what it was asked
    /// with.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(
        &self,
        expected: &ExpectedIdentity<'_>,
        token: Option<&Token>,
        nonce: &Nonce,
    ) -> Result<(), Mismatch> {
        self.identity.check(expected)?;
        let Some(token) = token else { return Ok(()) };
        let (Some(challenge), Some(proof)) = (&self.challenge, &self.proof) else {
            return Err(Mismatch::NoProof);
        };
        let texts = self.identity.texts(nonce, challenge);
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        if token.has_proved(proof, b"identity", &texts) { Ok(()) } else { Err(Mismatch::NoProof) }
    }
}

impl Identity {
    fn check(&self, expected: &ExpectedIdentity<'_>) -> Result<(), Mismatch> {
        let other =
            |known: &Option<String>, expected: &str| known.as_deref().is_some_and(|known| known != expected);
        let is = |known: &Option<String>, expected: &str| known.as_deref() == Some(expected);
        if other(&self.pod_uid, expected.pod_uid)
            || other(&self.pod, expected.pod)
            || other(&self.namespace, expected.namespace)
        {
            return Err(Mismatch::OtherPod(self.to_string()));
        }
        let named = is(&self.pod, expected.pod) && is(&self.namespace, expected.namespace);
        match expected.hostname {
            _ if is(&self.pod_uid, expected.pod_uid) || named => {}
            None => return Err(Mismatch::UnknownPod),
            Some(_) if self.pod.is_some() => {}
            Some(hostname) if self.has_hostname(hostname) => {}
            Some(_) => return Err(Mismatch::OtherPod(self.to_string())),
        }
        match &self.container {
            Some(container) if container == expected.container => Ok(()),
            None if expected.only_container || self.program == expected.container => Ok(()),
            Some(container) => Err(Mismatch::OtherContainer(container.clone())),
            None => Err(Mismatch::OtherContainer(format!("(unknown, with program {})", self.program))),
        }
    }

    /// Whether the host has this name, alone or with its domain.
    fn has_hostname(&self, hostname: &str) -> bool {
        self.hostname.strip_prefix(hostname).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// What the proof is about.
    fn texts(&self, nonce: &Nonce, challenge: &Nonce) -> Vec<String> {
        let Self { agent, version, namespace, pod, pod_uid, hostname, container, program } = self;
        let mut texts = vec![nonce.as_str().to_owned(), challenge.as_str().to_owned()];
        texts.extend([agent, version, hostname, program].map(Clone::clone));
        // A field that is absent is not one that is empty.
        let optional = [namespace, pod, pod_uid, container];
        texts.extend(
            optional.map(|field| field.as_ref().map_or_else(|| "-".to_owned(), |text| format!("+{text}"))),
        );
        texts
    }
}

/// `pod shop/cart-1 container app`, as far as that is known.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pod ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(self.pod.as_ref().unwrap_or(&self.hostname))?;
        if let Some(uid) = &self.pod_uid {
            write!(f, " ({uid})")?;
        }
        match &self.container {
            Some(container) => write!(f, " container {container}"),
            None => write!(f, " program {}", self.program),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CART: ExpectedIdentity<'_> = ExpectedIdentity {
        namespace: "shop",
        pod: "cart-1",
        pod_uid: "u-1",
        hostname: Some("cart-1"),
        container: "app",
        only_container: true,
    };
    const ON_HOST: ExpectedIdentity<'_> = ExpectedIdentity { hostname: None, ..CART };
    const ONE_OF_TWO: ExpectedIdentity<'_> = ExpectedIdentity { only_container: false, ..CART };

    fn identity() -> Identity {
        Identity {
            agent: AGENT.to_owned(),
            version: "1".to_owned(),
            namespace: None,
            pod: None,
            pod_uid: None,
            hostname: "cart-1".to_owned(),
            container: None,
            program: "server".to_owned(),
        }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn other_pod(text: &str) -> Result<(), Mismatch> {
        Err(Mismatch::OtherPod(text.to_owned()))
    }

    #[test]
    fn the_right_agent() {
        let named = Identity { namespace: some("shop"), pod: some("cart-1"), ..identity() };
        let node = || Identity { hostname: "node-7".to_owned(), ..named.clone() };
        for (identity, expected) in [
            (identity(), CART),
            (Identity { hostname: "cart-1.web.shop.svc".to_owned(), ..identity() }, CART),
            (Identity { hostname: "x".to_owned(), pod: some("cart-1"), ..identity() }, CART),
            (Identity { container: some("app"), ..identity() }, ONE_OF_TWO),
            (Identity { program: "app".to_owned(), ..identity() }, ONE_OF_TWO),
            (node(), ON_HOST),
            (Identity { hostname: "node-7".to_owned(), pod_uid: some("u-1"), ..identity() }, ON_HOST),
        ] {
            assert_eq!(identity.check(&expected), Ok(()), "{identity:?}");
        }
    }

    #[test]
    fn another_pods_agent() {
        let on_node = Identity { hostname: "node-7".to_owned(), ..identity() };
        for (identity, expected, result) in [
            (
                Identity { hostname: "web-1".to_owned(), ..identity() },
                CART,
                other_pod("pod web-1 program server"),
            ),
            (
                Identity { hostname: "cart-10".to_owned(), ..identity() },
                CART,
                other_pod("pod cart-10 program server"),
            ),
            (Identity { pod: some("web-1"), ..identity() }, CART, other_pod("pod web-1 program server")),
            (
                Identity { namespace: some("other"), container: some("app"), ..identity() },
                CART,
                other_pod("pod other/cart-1 container app"),
            ),
            (
                Identity { pod_uid: some("u-2"), ..identity() },
                CART,
                other_pod("pod cart-1 (u-2) program server"),
            ),
            // The name of the node is no pod's name, and a pod's name alone may be that of another namespace.
            (on_node.clone(), ON_HOST, Err(Mismatch::UnknownPod)),
            (Identity { pod: some("cart-1"), ..on_node }, ON_HOST, Err(Mismatch::UnknownPod)),
            (identity(), ON_HOST, Err(Mismatch::UnknownPod)),
        ] {
            assert_eq!(identity.check(&expected), result, "{identity:?}");
        }
    }

    #[test]
    fn another_containers_agent() {
        let side = Identity { container: some("side"), ..identity() };
        let other = |name: &str| Err(Mismatch::OtherContainer(name.to_owned()));
        assert_eq!(side.check(&ONE_OF_TWO), other("side"));
        assert_eq!(side.check(&CART), other("side"));
        assert_eq!(identity().check(&ONE_OF_TWO), other("(unknown, with program server)"));
    }

    /// What an agent sends is what a hook receives.
    fn received(introduction: &Introduction) -> Introduction {
        serde_json::from_str(&serde_json::to_string(introduction).unwrap()).unwrap()
    }

    #[test]
    fn without_a_token_the_identity_must_do() {
        let (nonce, challenge) = (Nonce::random(), Nonce::random());
        let plain = received(&Introduction::new(identity(), None, &nonce, &challenge));
        assert_eq!((plain.check(&CART, None, &nonce), &plain.challenge), (Ok(()), &None));
        let token = Token::new("s3cret").unwrap();
        assert_eq!(plain.check(&CART, Some(&token), &nonce), Err(Mismatch::NoProof));
        let proved = received(&Introduction::new(identity(), Some(&token), &nonce, &challenge));
        assert_eq!(proved.check(&CART, None, &nonce), Ok(()));
        assert_eq!(proved.challenge, Some(challenge));
    }

    #[test]
    fn a_proof_is_of_one_token_one_nonce_one_challenge_and_one_identity() {
        let (token, nonce, challenge) = (Token::new("s3cret").unwrap(), Nonce::random(), Nonce::random());
        let right = received(&Introduction::new(identity(), Some(&token), &nonce, &challenge));
        assert_eq!(right.check(&CART, Some(&token), &nonce), Ok(()));
        assert_eq!(right.check(&CART, Some(&token), &Nonce::random()), Err(Mismatch::NoProof), "a replay");
        let other = Token::new("other").unwrap();
        assert_eq!(right.check(&CART, Some(&other), &nonce), Err(Mismatch::NoProof));
        let wrong = [
            Introduction { challenge: Some(Nonce::random()), ..right.clone() },
            Introduction { challenge: None, ..right.clone() },
            Introduction { proof: None, ..right.clone() },
            Introduction { proof: some(""), ..right.clone() },
            Introduction { proof: some(&"0".repeat(64)), ..right.clone() },
            Introduction { identity: Identity { pod: some("cart-1"), ..identity() }, ..right.clone() },
            Introduction { identity: Identity { container: some("app"), ..identity() }, ..right.clone() },
            Introduction { identity: Identity { pod_uid: some("u-1"), ..identity() }, ..right },
        ];
        for wrong in wrong {
            assert_eq!(wrong.check(&CART, Some(&token), &nonce), Err(Mismatch::NoProof), "{wrong:?}");
        }
    }

    proptest! {
        /// A proof for one pod serves for no other, whatever the texts are.
        #[test]
        fn a_proof_does_not_move_between_identities(texts in proptest::array::uniform4("[-+a-z]{0,3}"), others in proptest::array::uniform4("[-+a-z]{0,3}")) {
            let of = |[pod, uid, container, program]: [String; 4]| Identity {
                pod: Some(pod).filter(|text| !text.is_empty()),
                pod_uid: Some(uid),
                container: Some(container),
                program,
                ..identity()
            };
            let (token, nonce, challenge) = (Token::new("s3cret").unwrap(), Nonce::random(), Nonce::random());
            let (one, other) = (of(texts), of(others));
            let proof = Introduction::new(one.clone(), Some(&token), &nonce, &challenge).proof;
            let moved = Introduction::new(other.clone(), Some(&token), &nonce, &challenge).proof;
            prop_assert_eq!(proof == moved, one == other);
        }
    }
}
