//! Ends of other versions, and words that this one does not know.

use wire::frame::Head;
use wire::message::Fetch;
use wire::stream::Lane;
use wire::version::Versions;

use super::*;

const HUB: Versions = Versions { lowest: 1, highest: 3 };

fn dialled(offered: Versions) -> (Client, Vec<u8>) {
    let (now, carrier) = (Instant(1000), Carrier::Stream);
    let mut client = Client::new(Timing::default(), 1, now);
    client.handle_timeout(now);
    client.poll_output();
    let hello = Hello { versions: offered, ..hello() };
    client.handle_input(now, Input::Connected { carrier, known: Estimate::default(), hello: &hello });
    let words = client.poll_packet(now, &Lane::ALL).unwrap().bytes;
    (client, words)
}

fn frame(kind: u8, message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Head { lane: Lane::Urgent, kind, part: None }.put(message, false, &mut bytes);
    bytes
}

#[test]
fn a_hub_of_three_versions_speaks_the_highest_that_a_device_knows() {
    for (lowest, highest, agreed) in [(1, 1, 1), (1, 2, 2), (2, 2, 2), (0, 3, 3), (3, 9, 3), (2, u16::MAX, 3)] {
        let (now, (mut client, hello)) = (Instant(1000), dialled(Versions { lowest, highest }));
        let mut server = Server::new(now, Carrier::Stream, HUB);
        server.receive(now, None, &hello, |_| {}).unwrap();
        assert_eq!((server.version(), client.version()), (Some(agreed), None));
        server.welcome(&Welcome { version: agreed, ..welcome() });
        client.handle_input(now, Input::Received(&server.poll_packet(now).unwrap()));
        assert_eq!(client.version(), Some(agreed));
    }
}

#[test]
fn a_device_whose_versions_no_hub_speaks_is_told_which_it_does() {
    for (lowest, highest, theirs) in [(4, 5, "4 to 5"), (0, 0, "0"), (3, 1, "3 to 1")] {
        let (now, (mut client, hello)) = (Instant(1000), dialled(Versions { lowest, highest }));
        let mut server = Server::new(now, Carrier::Stream, HUB);
        let problem = server.receive(now, None, &hello, |_| panic!("nobody hears it")).unwrap_err();
        assert_eq!(problem.reason(), CloseReason::Version);
        server.close(problem.reason(), &alloc::format!("{problem}"));
        client.handle_input(now, Input::Received(&server.poll_packet(now).unwrap()));
        let Some(Output::HangUp(reason)) = client.poll_output() else { panic!("it was taken") };
        let words = alloc::format!("{reason}");
        assert!(words.ends_with(&alloc::format!("(device speaks {theirs}, hub speaks 1 to 3)")), "{words}");
        assert!(client.poll_timeout().unwrap() - now >= Span::minutes(7), "that will not change soon");
    }
}

#[test]
fn a_hub_that_chooses_what_was_not_offered_is_given_up() {
    for chosen in [1, 4] {
        let mut client = dialled(Versions { lowest: 2, highest: 3 }).0;
        let welcome = talk::frames(Kind::Welcome, &Welcome { version: chosen, ..welcome() });
        client.handle_input(Instant(1000), Input::Received(&welcome));
        let Some(Output::HangUp(reason)) = client.poll_output() else { panic!("it was taken") };
        let expected =
            alloc::format!("the hub speaks version {chosen}, this device speaks 2 to 3: upgrade the older one");
        assert_eq!(alloc::format!("{reason}"), expected);
    }
}

#[test]
fn a_greeting_that_nobody_here_can_read_further_still_says_its_versions() {
    let theirs = Versions { lowest: 70, highest: 900 };
    for kind in [Kind::Hello, Kind::Enroll] {
        let greeting = [talk::body(&theirs), alloc::vec![0xff; 40]].concat();
        let mut server = Server::new(Instant(0), Carrier::Stream, HUB);
        let problem = server.receive(Instant(0), None, &frame(kind as u8, &greeting), |_| {});
        assert_eq!(problem, Err(Problem::Version { theirs, ours: HUB }));
    }
}

#[test]
fn a_hello_that_has_grown_is_read_as_far_as_it_is_known() {
    let greeting = [talk::body(&hello()), b"more".to_vec()].concat();
    let mut server = Server::new(Instant(0), Carrier::Stream, HUB);
    let mut heard = Vec::new();
    server.receive(Instant(0), None, &frame(Kind::Hello as u8, &greeting), |message| heard.push(message)).unwrap();
    assert_eq!(heard, [Heard::Hello(hello())]);
}

#[test]
fn words_of_a_later_version_are_passed_over_and_counted() {
    let mut pair = Pair::online();
    let words = [frame(128, b"more"), frame(255, b"")].concat();
    let down = [&words[..], &talk::frames(Kind::Ack, &ack(1))].concat();
    pair.client.handle_input(pair.now, Input::Received(&down));
    assert_eq!(pair.client.poll_output(), Some(Output::Acked(alloc::boxed::Box::new(ack(1)))));
    let up = [&words[..], &talk::frames(Kind::Ping, &Ping::default())].concat();
    pair.server.receive(pair.now, None, &up, |message| pair.heard.push(message)).unwrap();
    assert_eq!(pair.heard, [Heard::Ping(Ping::default())]);
    assert_eq!((pair.client.skipped_count(), pair.server.take_skipped_count()), (2, 2));
    assert_eq!(pair.server.take_skipped_count(), 0);
}

#[test]
fn a_request_that_cannot_be_read_is_counted_and_changes_nothing() {
    let mut pair = Pair::online();
    let fetch = Fetch { number: 7, selector: "up".try_into().unwrap(), from: UnixTime(5), to: UnixTime(9) };
    let whole = talk::body(&fetch);
    for end in 0..whole.len() {
        pair.client.handle_input(pair.now, Input::Received(&frame(Kind::Fetch as u8, &whole[..end])));
    }
    assert_eq!((pair.client.skipped_count(), pair.client.poll_output()), (whole.len() as u64, None));
    pair.server.fetch(&fetch);
    let packet = pair.server.poll_packet(pair.now).unwrap();
    pair.client.handle_input(pair.now, Input::Received(&packet));
    assert_eq!(pair.client.poll_output(), Some(Output::Asked(alloc::boxed::Box::new(fetch))));
}

#[test]
fn words_that_must_not_be_passed_over_end_the_link() {
    for kind in [0, 19, 127] {
        let mut pair = Pair::online();
        let words = frame(kind, b"more");
        let problem = pair.server.receive(pair.now, None, &words, |_| {}).unwrap_err();
        let expected = alloc::format!("this hub does not know messages of kind {kind}: upgrade it");
        assert_eq!((problem.reason(), alloc::format!("{problem}")), (CloseReason::Protocol, expected));
        pair.client.handle_input(pair.now, Input::Received(&words));
        assert_eq!(pair.client.poll_output(), Some(Output::HangUp(DownReason::Unknown(kind))));
    }
}
