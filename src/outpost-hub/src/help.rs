//! What `--help` says: one page a command, each with an example that works as it stands.

use crate::args::Topic;

/// The page on a topic.
pub fn page(topic: Topic) -> &'static str {
    match topic {
        Topic::All => ALL,
        Topic::Data => DATA,
        Topic::Device => DEVICE,
        Topic::Events => EVENTS,
        Topic::Fetch => FETCH,
        Topic::Fleet => FLEET,
        Topic::Init => INIT,
        Topic::Key => KEY,
        Topic::Query => QUERY,
        Topic::Serve => SERVE,
        Topic::Stat => STAT,
        Topic::Token => TOKEN,
    }
}

const ALL: &str = "\
outpost-hub: where the machines of a fleet report to

usage: outpost-hub [--dir DIR] COMMAND ..

  serve     be the hub: listen to the fleet, answer the commands below
  init      make the hub's folder and key, without serving
  token     let new machines in
  fleet     who there is, and how each stands
  device    rename, group, tag, retire, revoke or delete a device
  query     what was measured: node_load1, rate(node_cpu_seconds_total[5m])
  events    what happened
  fetch     ask a device for ticks that it has not sent
  data      what a device's links carried, by day and by what it was for
  stat      how much is held, and whether all of it is accounted for
  key       the hub's key, and changing it

  --dir DIR    the hub's folder: /var/lib/outpost-hub for root, otherwise
               $XDG_STATE_HOME/outpost-hub (~/.local/state/outpost-hub)
  --help       also behind each command, with an example
  --version

exit status: 0 done, 1 not possible or not found, 2 not understood

the first machine:
  outpost-hub serve --listen 0.0.0.0:7070 &
  outpost-hub token new
";

const DATA: &str = "\
usage: outpost-hub data NAME [--since SPAN | --from TIME] [--to TIME] [--json | --csv | --svg]

  --since SPAN     from so long ago (7d), or from a moment, to now; 30 days when nothing is said, 366 at the most
  --from, --to     moments: 2026-01-31T12:00Z, 2026-01-31, -2h, now
  --json           one line: {\"device\":..,\"bearers\":[..],\"changes\":[..],\"notes\":[..]}
  --csv            one line a day of a bearer, without the changes of the link
  --svg            a drawing, as the content of a file

A day is the device's and is told when it is over. A day without a record is not known, which is not the same as
nothing: in --json it has null, in --csv empty fields. Bytes are those of whole IP packets in both directions; KB and MB
are thousands and millions of them, as providers bill. \"other\" is what the machine's other programs used.

example:
  outpost-hub data gw-1 --since 7d
  outpost-hub data gw-1 --svg
";

const DEVICE: &str = "\
usage: outpost-hub device rename NAME NEW-NAME
       outpost-hub device group NAME GROUP | --none
       outpost-hub device tag NAME KEY=VALUE         an empty value removes the tag
       outpost-hub device retire NAME                out of service; its history stays
       outpost-hub device revoke NAME                its key is not to be trusted; its history stays
       outpost-hub device delete NAME --yes          forget it and everything it sent

A device is meant by its name or its number of 16 digits. Enroll a retired one again and it comes back as it was.

example:
  outpost-hub device rename raspberrypi pump-7
  outpost-hub device group pump-7 pumps
  outpost-hub device tag pump-7 site=north
  outpost-hub device delete pump-7 --yes
";

const EVENTS: &str = "\
usage: outpost-hub events [--device NAME] [--since SPAN | --from TIME] [--to TIME] [--count N] [--json]

  --device NAME    of one device instead of all
  --since SPAN     from so long ago (1d), or from a moment, to now; one day when nothing is said
  --from, --to     moments: 2026-01-31T12:00Z, 2026-01-31, -2h, now
  --count N        the newest N at the most: 1000 when nothing is said
  --json           one line: {\"events\":[..],\"notes\":[..]}

example:
  outpost-hub events --device gw-1 --since 7d
";

const FETCH: &str = "\
usage: outpost-hub fetch NAME SERIES [--since SPAN | --from TIME] [--to TIME]
       outpost-hub fetch [--json]
       outpost-hub fetch --withdraw NUMBER

Where bytes cost, a device sends windows and keeps its ticks. This asks it for those of a span; without a device it
lists what was asked for. The device copies what it still holds and says how much that is. The copies go after what is
urgent and what is critical, within its budget, and `query` shows them in the place of windows. A device that is not
connected is asked when it comes, for 7 days. What was asked for twice counts once.

  SERIES           a selector of PromQL, or a pattern of metrics' names: 'node_cpu.*', node_load1, 'up{job=\"a\"}'
  --since SPAN     from so long ago (20m), or from a moment, to now; one hour when nothing is said
  --from, --to     moments: 14:00Z, 2026-01-31T12:00Z, -2h, now; 3 hours apart at the most
  --withdraw       ask no more
  --json           one line: [{\"number\":..,\"device\":..,\"state\":..},..]

example:
  outpost-hub fetch gw-1 'node_cpu.*' --from 14:00Z --to 14:20Z
  outpost-hub fetch
";

const FLEET: &str = "\
usage: outpost-hub fleet [--all] [--json]

  --all     with the devices that were retired or revoked
  --json    one line: [{\"name\":..,\"online\":true,..},..]

  heard      since its last word; a device that is online speaks once a minute or more
  backlog    batches that it has and the hub lacks, as far as the hub knows
  clock      its clock less the hub's, when it last said

example:
  outpost-hub fleet --json | jq '.[] | select(.online | not) | .name'
";

const INIT: &str = "\
usage: outpost-hub init

Makes the hub's folder and key and prints the key's fingerprint. `serve` does the same when there is none; use this to
know the fingerprint before. A key that is there stays.

example:
  outpost-hub init --dir /srv/hub
";

const KEY: &str = "\
usage: outpost-hub key show
       outpost-hub key rotate
       outpost-hub key activate [--force]

The fleet trusts the hub by its key. To change it: `rotate` makes the next key and tells each device when it connects;
`activate` changes to it once all active devices know it, and names those that do not. With --force they are left behind
and must be enrolled again. The key before is kept as hub.key.old. Tokens carry the key that they were made under: after
a change make new ones.

example:
  outpost-hub key rotate
  outpost-hub key activate
";

const QUERY: &str = "\
usage: outpost-hub query EXPRESSION [--since SPAN | --from TIME] [--to TIME] [--step SPAN | --raw]
                         [--steps | --json | --csv]

  EXPRESSION       a selector of PromQL, or rate(..) of one: node_load1{device=\"gw-1\"}, {__name__=~\"node_.*\"};
                   each series bears the name of its machine as instance, and as device unless it has a label device
                   of its own (disks, interfaces); and group if the machine has one
  --since SPAN     from so long ago (1h30m, 7d), or from a moment, to now; one hour when nothing is said
  --from, --to     moments: 2026-01-31T12:00Z, 2026-01-31, -2h, now
  --step SPAN      between values; a sixtieth of the span, rounded, when nothing is said
  --raw            samples as they were taken
  --steps          one line a moment instead of one line a series
  --json, --csv    for programs

example:
  outpost-hub query 'rate(node_network_receive_bytes_total{instance=\"gw-1\",device=\"eth0\"}[5m])' --since 1d
";

const SERVE: &str = "\
usage: outpost-hub serve [--listen ADDRESS:PORT]

  --listen ADDRESS:PORT    127.0.0.1:7070 when nothing is said, which nobody else reaches; 0.0.0.0:7070 or [::]:7070
                           for all; port 0 for any that is free. The first line on stdout says which. TCP and UDP
                           have the same port; proxies and firewalls of companies often let 443 alone pass.

Makes the folder and the key when there are none. Logs to stderr. SIGTERM and SIGINT end it in good order; nothing that
was acknowledged is lost however it ends.

example:
  outpost-hub serve --listen 0.0.0.0:7070
";

const STAT: &str = "\
usage: outpost-hub stat [--json]

Reads every record and counts, so it takes its time.

  lost          batches that will never come: their device said so
  gaps          batches that are missing and that nobody declared lost; they may still be on their way
  duplicates    samples that are there twice: a defect of ours

example:
  outpost-hub stat --json
";

const TOKEN: &str = "\
usage: outpost-hub token new [--uses N] [--expires SPAN | never] [--group GROUP] [--tag KEY=VALUE]..
       outpost-hub token list [--json]
       outpost-hub token delete TOKEN | HASH

A token lets machines in. `new` prints it alone on stdout, and on stderr the command to run on the machine. `delete`
withdraws one, by itself or by the first digits of its hash in the list; machines that came in with it stay. One that is
used or expired stays in the list for 90 days.

  --uses N           so many machines: one when nothing is said
  --expires SPAN     24h when nothing is said
  --group, --tag     given to each machine that it lets in

example:
  outpost-hub token new --uses 40 --expires 7d --group pumps --tag site=north
  outpost-hub token delete 3f9a01c2
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use wire::time::UnixTime;

    #[test]
    fn every_command_has_a_page_with_an_example_and_the_front_names_it() {
        for (name, topic) in Topic::NAMED {
            let page = page(topic);
            assert!(page.starts_with("usage: outpost-hub ") && page.contains("\nexample:\n  outpost-hub "), "{name}");
            assert!(ALL.contains(&format!("\n  {name} ")), "{name}");
            assert!(page.lines().all(|line| line.chars().count() <= 120), "{name}");
        }
    }

    #[test]
    fn every_example_is_understood() {
        for (_, topic) in Topic::NAMED {
            let (_, examples) = page(topic).split_once("\nexample:\n").unwrap();
            for line in examples.lines() {
                let line = line.split(" | ").next().unwrap().trim().strip_prefix("outpost-hub ").unwrap();
                let words: Vec<String> = line.split_inclusive(' ').map(|word| word.trim().replace('\'', "")).collect();
                args::parse(words, UnixTime(1_767_225_600_000)).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }
}
