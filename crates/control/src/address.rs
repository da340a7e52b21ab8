//! Where the control endpoint listens, as `--control` and `PODCOV_CONTROL` say it.

use std::net::SocketAddr;
use std::str::FromStr;

/// Where the control endpoint listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlAddress {
    /// Nowhere.
    Off,
    /// On this address.
    At(SocketAddr),
}

/// The text is no address of a control endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither \"off\" nor an address such as 127.0.0.1:19998")]
pub struct NotAnAddress;

impl FromStr for ControlAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        if text == "off" {
            return Ok(Self::Off);
        }
        // As Go writes "all addresses".
        let text = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
        text.parse().map(Self::At).map_err(|_| NotAnAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let at = |text: &str| Ok(ControlAddress::At(text.parse().unwrap()));
        assert_eq!("off".parse(), Ok(ControlAddress::Off));
        assert_eq!("127.0.0.1:5".parse(), at("127.0.0.1:5"));
        assert_eq!("[::1]:5".parse(), at("[::1]:5"));
        assert_eq!(":5".parse(), at("0.0.0.0:5"));
        for wrong in ["", "OFF", "5", "localhost:5", "127.0.0.1", "127.0.0.1:x"] {
            assert_eq!(wrong.parse::<ControlAddress>(), Err(NotAnAddress), "{wrong}");
        }
    }
}
