//! Packets of both ends over both carriers, as they are before they are sealed.

use link::channel::Carrier;
use link::client::{Client, Input, Output, Timing};
use link::estimator::Estimate;
use link::server::{Heard, Server};
use wire::id::Seq;
use wire::spent::Use;
use wire::stream::{Lane, Stream};
use wire::version::Versions;

use super::Golden;
use super::message::{NOW, ack, hello, welcome};
use super::payload::event_record;

/// A greeting with what is urgent, and its answer.
pub(super) fn all() -> impl Iterator<Item = Golden> {
    [Carrier::Stream, Carrier::Datagram].into_iter().flat_map(|carrier| {
        let (greeting, answer) = talk(carrier);
        let name = format!("packet/{carrier:?}").to_lowercase();
        [
            Golden::new(format!("{name}/greeting"), greeting, move |bytes| {
                let mut server = Server::new(NOW.uptime, carrier, Versions::HUB);
                let mut heard = Vec::new();
                let received = server.receive(NOW.uptime, number(carrier), bytes, |message| heard.push(message));
                received.is_ok() && heard == [Heard::Hello(hello()), Heard::Batch(event_record())]
            }),
            Golden::new(format!("{name}/answer"), answer, move |bytes| {
                let (mut client, _) = greet(carrier);
                let input = match carrier {
                    Carrier::Datagram => Input::Datagram(0, bytes),
                    Carrier::Stream => Input::Received(bytes),
                };
                client.handle_input(NOW.uptime, input);
                let told: Vec<Output> = std::iter::from_fn(|| client.poll_output()).collect();
                let time = Output::HubTime(welcome().hub, NOW.uptime);
                told == [time, Output::Up(Box::new(welcome())), Output::Acked(Box::new(ack()))]
            }),
        ]
    })
}

fn talk(carrier: Carrier) -> (Vec<u8>, Vec<u8>) {
    let (now, (_, greeting)) = (NOW.uptime, greet(carrier));
    let mut server = Server::new(now, carrier, Versions::HUB);
    server.receive(now, number(carrier), &greeting, |_| {}).expect("it is well formed");
    server.welcome(&welcome());
    server.ack(&ack());
    (greeting, server.poll_packet(now).expect("a welcome waits"))
}

/// A gateway's end, and the first that it says.
fn greet(carrier: Carrier) -> (Client, Vec<u8>) {
    let now = NOW.uptime;
    let mut client = Client::new(Timing::default(), 1, now);
    client.handle_timeout(now);
    assert_eq!(client.poll_output(), Some(Output::Dial));
    client.handle_input(now, Input::Connected { carrier, known: Estimate::default(), hello: &hello() });
    client.send_batch(now, Stream::Event, Seq(2), &event_record(), Use::Urgent);
    let greeting = client.poll_packet(now, &Lane::ALL).expect("a hello waits").bytes;
    (client, greeting)
}

/// The first datagram each way has number 0.
fn number(carrier: Carrier) -> Option<u64> {
    (carrier == Carrier::Datagram).then_some(0)
}
