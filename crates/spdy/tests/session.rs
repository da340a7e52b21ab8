//! A client's and a server's session with each other, over a pipe.

use std::time::Duration;

use bytes::Bytes;
use podcov_spdy::{Accepted, Broken, Incoming, Outgoing, Session, client, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc::UnboundedReceiver;

const PIECE: usize = 64 * 1024;

fn pair() -> (Session, UnboundedReceiver<Accepted>) {
    let (here, there) = duplex(PIECE);
    (client(here).expect("a client"), server(there).expect("a server"))
}

async fn opened(
    session: &Session,
    accepted: &mut UnboundedReceiver<Accepted>,
) -> ((Incoming, Outgoing), Accepted) {
    let stream = session.open(vec![("n".to_owned(), "v".to_owned())], false).expect("a stream");
    (stream, accepted.recv().await.expect("its other end"))
}

async fn all(incoming: &mut Incoming) -> Result<Vec<u8>, Broken> {
    let mut all = Vec::new();
    while let Some(piece) = incoming.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[tokio::test]
async fn each_direction_ends_by_itself() {
    let (session, mut accepted) = pair();
    let ((mut incoming, mut outgoing), mut other) = opened(&session, &mut accepted).await;
    assert_eq!(other.headers, [("n".to_owned(), "v".to_owned())]);
    outgoing.send(Bytes::from_static(b"question")).await.unwrap();
    outgoing.end().unwrap();
    assert_eq!(all(&mut other.incoming).await.unwrap(), b"question");
    other.outgoing.send(Bytes::from_static(b"answer")).await.unwrap();
    other.outgoing.end().unwrap();
    assert_eq!(all(&mut incoming).await.unwrap(), b"answer");
}

#[tokio::test]
async fn many_streams_side_by_side() {
    let (session, mut accepted) = pair();
    tokio::spawn(async move {
        while let Some(Accepted { mut incoming, mut outgoing, .. }) = accepted.recv().await {
            tokio::spawn(async move {
                while let Ok(Some(piece)) = incoming.next().await {
                    outgoing.send(piece).await.unwrap();
                }
                outgoing.end().unwrap();
            });
        }
    });
    let mut echoes = Vec::new();
    for n in 0..100_u8 {
        let (mut incoming, mut outgoing) = session.open(Vec::new(), false).unwrap();
        echoes.push(tokio::spawn(async move {
            let sending = async {
                for _ in 0..10 {
                    outgoing.send(Bytes::from(vec![n; PIECE])).await.unwrap();
                }
                outgoing.end().unwrap();
            };
            let (back, ()) = tokio::join!(all(&mut incoming), sending);
            assert!(back.unwrap() == vec![n; 10 * PIECE]);
        }));
    }
    for echo in echoes {
        echo.await.unwrap();
    }
}

#[tokio::test]
async fn one_that_is_let_go_is_cancelled_at_the_other_end() {
    let (session, mut accepted) = pair();
    let (stream, mut other) = opened(&session, &mut accepted).await;
    drop(stream);
    let Err(Broken(why)) = other.incoming.next().await else { panic!("it goes on") };
    assert_eq!(why, "the other end reset the stream (status 5)");
    // The session goes on.
    let (mut stream, mut other) = opened(&session, &mut accepted).await;
    stream.1.end().unwrap();
    assert_eq!(all(&mut other.incoming).await.unwrap(), b"");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_session_up_until_it_does() {
    let (session, mut accepted) = pair();
    let ((mut incoming, _outgoing), mut other) = opened(&session, &mut accepted).await;
    let sending = tokio::spawn(async move {
        for _ in 0..200 {
            other.outgoing.send(Bytes::from(vec![7; PIECE])).await.unwrap();
        }
        other.outgoing.end().unwrap();
    });
    // Nobody announces it: it shows when a stream is to be opened.
    while !session.is_held_up() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!sending.is_finished());
    assert_eq!(all(&mut incoming).await.unwrap().len(), 200 * PIECE);
    sending.await.unwrap();
    drop(incoming);
    assert!(!session.is_held_up());
}

#[tokio::test]
async fn a_connection_that_ends_breaks_its_streams() {
    let (here, there) = duplex(PIECE);
    let session = client(here).unwrap();
    let (mut incoming, mut outgoing) = session.open(Vec::new(), false).unwrap();
    drop(there);
    assert!(incoming.next().await.is_err());
    assert!(session.is_closed());
    assert!(session.open(Vec::new(), false).is_err());
    assert!(outgoing.send(Bytes::from_static(b"late")).await.is_err());
}

#[tokio::test]
async fn a_session_ends_when_nobody_holds_it() {
    let (here, mut there) = duplex(PIECE);
    let session = client(here).unwrap();
    let stream = session.open(Vec::new(), true).unwrap();
    drop(session);
    let mut first = [0; 8];
    there.read_exact(&mut first).await.unwrap();
    assert_eq!(&first[..4], b"\x80\x03\x00\x01");
    drop(stream);
    there.read_to_end(&mut Vec::new()).await.unwrap();
}

/// The frames are written by hand.
#[tokio::test]
async fn what_a_server_says_of_the_session() {
    let (here, mut there) = duplex(PIECE);
    let session = client(here).unwrap();
    let (mut incoming, _outgoing) = session.open(Vec::new(), true).unwrap();
    skip_frame(&mut there).await;
    // A ping comes back as it was.
    there.write_all(b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02").await.unwrap();
    let mut answer = [0; 12];
    there.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02");
    // No more streams, but those that are there go on.
    there.write_all(b"\x80\x03\x00\x07\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00").await.unwrap();
    there.write_all(b"\x00\x00\x00\x01\x01\x00\x00\x02ok").await.unwrap();
    assert_eq!(all(&mut incoming).await.unwrap(), b"ok");
    assert_eq!(
        session.open(Vec::new(), false).err(),
        Some(Broken("the other end takes no more streams".to_owned()))
    );
    // Another version is another protocol.
    there.write_all(b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x02").await.unwrap();
    there.read_to_end(&mut Vec::new()).await.unwrap();
}

async fn skip_frame(from: &mut DuplexStream) {
    let mut head = [0; 8];
    from.read_exact(&mut head).await.expect("a head");
    let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
    from.read_exact(&mut vec![0; length]).await.expect("a payload");
}
