//! The names of services, for pods: the cluster's DNS server, on the node's address.
//!
//! A name stands for the addresses of the service's ready pods, as that of a headless service does anywhere: there is
//! no kube-proxy, so a service's own address leads nowhere. For the same reason ports are not translated, and who uses
//! a name needs a service whose port is the container's.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::net::UdpSocket;

use crate::host::NODE;

/// The domain of the cluster's names.
pub(crate) const DOMAIN: &str = "cluster.local";
/// Resolvers take no other.
const PORT: u16 = 53;
/// As many as an answer of 512 bytes holds whatever the name, so that none has to be asked for again by TCP.
const MOST: usize = 20;

/// Listens on the bridge, which must be there.
pub(crate) async fn listen() -> Result<UdpSocket> {
    let listening = UdpSocket::bind((NODE, PORT)).await;
    listening.with_context(|| format!("cannot listen on {NODE}, UDP port {PORT}, for the names of services"))
}

/// Answers until the socket fails.
pub(crate) async fn serve(socket: &UdpSocket, client: &Client) -> Result<Infallible> {
    // No question is longer.
    let mut packet = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut packet).await.context("the names of services")?;
        let ready = async |service: &str, namespace: &str| ready(client, service, namespace).await;
        if let Some(answer) = answer(&packet[..length], ready).await {
            // Its pod may be gone; if it is not it asks again.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The answer to a packet, if that is a question; `ready` gives the addresses of a service in a namespace.
async fn answer(
    packet: &[u8],
    ready: impl AsyncFnOnce(&str, &str) -> Result<Vec<Ipv4Addr>>,
) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(packet).ok()?;
    let [question] = &message.queries[..] else { return None };
    if (message.metadata.message_type, message.metadata.op_code) != (MessageType::Query, OpCode::Query) {
        return None;
    }
    let addresses = match service(question.name()) {
        Some((service, namespace)) => ready(&service, &namespace).await,
        None => Ok(Vec::new()),
    };
    let mut records = Vec::new();
    message.metadata.response_code = match addresses {
        Err(_) => ResponseCode::ServFail,
        Ok(none) if none.is_empty() => ResponseCode::NXDomain,
        Ok(addresses) => {
            if question.query_type() == RecordType::A {
                // A TTL of zero: the pods may have changed by the next question.
                let record = |address| Record::from_rdata(question.name().clone(), 0, RData::A(address));
                records.extend(addresses.into_iter().take(MOST).map(|address| record(address.into())));
            }
            ResponseCode::NoError
        }
    };
    message.metadata.message_type = MessageType::Response;
    message.metadata.authoritative = true;
    message.answers = records;
    message.authorities.clear();
    message.additionals.clear();
    message.edns = None;
    message.to_vec().ok()
}

/// The service and the namespace that a name is of.
fn service(name: &Name) -> Option<(String, String)> {
    let name = name.to_lowercase().to_ascii();
    let (service, namespace) = name.strip_suffix(&format!(".svc.{DOMAIN}."))?.split_once('.')?;
    // Others are no names in Kubernetes, and would not be asked for there.
    let valid = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (valid(service) && valid(namespace)).then(|| (service.to_owned(), namespace.to_owned()))
}

/// The addresses of a service's ready pods.
async fn ready(client: &Client, service: &str, namespace: &str) -> Result<Vec<Ipv4Addr>> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    let endpoints = slices.list(&of_service).await?.items.into_iter().flat_map(|slice| slice.endpoints);
    let ready = endpoints.filter(|one| one.conditions.as_ref().and_then(|is| is.ready).unwrap_or(true));
    Ok(ready.flat_map(|one| one.addresses).filter_map(|address| address.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use hickory_proto::op::{Edns, Query};

    use super::*;

    /// A cluster with one service of `count` ready pods.
    async fn ask(name: &str, kind: RecordType, count: u8) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind)).set_edns(Edns::new());
        message.metadata.recursion_desired = true;
        let ready = async |service: &str, namespace: &str| match (service, namespace) {
            ("cart", "shop") => Ok((0..count).map(|pod| Ipv4Addr::new(198, 18, 1, pod)).collect()),
            ("cart", "down") => Err(anyhow!("no API server")),
            _ => Ok(Vec::new()),
        };
        let answer = answer(&message.to_vec().unwrap(), ready).await.unwrap();
        assert!(answer.len() <= 512, "{}", answer.len());
        let answer = Message::from_vec(&answer).unwrap();
        let (asked, answered) = (message.metadata, answer.metadata);
        assert_eq!((answered.id, answered.message_type), (asked.id, MessageType::Response));
        assert!(answered.authoritative && !answered.truncation);
        assert_eq!((&answer.queries, &answer.edns), (&message.queries, &None));
        answer
    }

    #[tokio::test]
    async fn a_name_stands_for_the_ready_pods() {
        let answer = ask("Cart.shop.svc.cluster.local.", RecordType::A, 2).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        let said: Vec<String> = answer.answers.iter().map(ToString::to_string).collect();
        let name = "Cart.shop.svc.cluster.local.";
        assert_eq!(said, [format!("{name} 0 IN A 198.18.1.0"), format!("{name} 0 IN A 198.18.1.1")]);
    }

    #[tokio::test]
    async fn an_answer_fits_into_any_datagram() {
        let answer = ask("cart.shop.svc.cluster.local.", RecordType::A, 200).await;
        assert_eq!(answer.answers.len(), MOST);
    }

    #[tokio::test]
    async fn a_name_that_exists_has_addresses_of_one_kind() {
        let answer = ask("cart.shop.svc.cluster.local.", RecordType::AAAA, 2).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::NoError, 0));
    }

    #[tokio::test]
    async fn what_has_no_ready_pods_or_is_no_service_does_not_exist() {
        for (name, count) in [
            ("cart.shop.svc.cluster.local.", 0),
            ("other.shop.svc.cluster.local.", 2),
            ("cart.svc.cluster.local.", 2),
            ("svc.cluster.local.", 2),
            ("x.cart.shop.svc.cluster.local.", 2),
            ("cart.shop.", 2),
            (".", 2),
        ] {
            for kind in [RecordType::A, RecordType::AAAA] {
                let answer = ask(name, kind, count).await;
                let said = (answer.metadata.response_code, answer.answers.len());
                assert_eq!(said, (ResponseCode::NXDomain, 0), "{name} {kind}");
            }
        }
    }

    #[test]
    fn nothing_is_asked_that_kubernetes_does_not_call_a_name() {
        let of = |labels: &[&str]| {
            let labels = labels.iter().chain(&["svc", "cluster", "local"]).map(|label| label.as_bytes());
            service(&Name::from_labels(labels).unwrap())
        };
        assert_eq!(of(&["cart-2", "Shop"]), Some(("cart-2".to_owned(), "shop".to_owned())));
        for namespace in ["shop/pods", "shop.", "shop?x", "shop,x", "shop%2f", "sh\u{f6}p", "..", "*"] {
            assert_eq!(of(&["cart", namespace]), None, "{namespace}");
        }
    }

    #[tokio::test]
    async fn it_says_when_it_cannot_tell() {
        let answer = ask("cart.down.svc.cluster.local.", RecordType::A, 2).await;
        assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::ServFail, 0));
    }

    #[tokio::test]
    async fn what_is_no_question_gets_no_answer() {
        let nobody = async |_: &str, _: &str| panic!("asked");
        let name = Name::from_ascii("cart.shop.svc.cluster.local.").unwrap();
        let mut answer_to_it = Message::query();
        answer_to_it.add_query(Query::query(name, RecordType::A));
        answer_to_it.metadata.message_type = MessageType::Response;
        for packet in
            [answer_to_it.to_vec().unwrap(), Message::query().to_vec().unwrap(), vec![1, 2, 3], vec![]]
        {
            assert_eq!(answer(&packet, nobody).await, None);
        }
    }
}
