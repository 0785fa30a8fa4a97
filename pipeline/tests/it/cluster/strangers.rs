//! What strangers get: nothing. And what a machine gets that is not as the others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::lan::{Lan, Process};
use crate::program::Place;
use crate::promises::SEEDED;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A place with a graph, and two tokens.
fn place() -> Place {
    let place = Place::new();
    place.copies(8);
    place.write("graph.yaml", SEEDED);
    for (name, text) in [("token", TOKEN), ("other", "fedcba9876543210fedcba9876543210")] {
        place.write(name, text);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(place.path(name), mode).expect("a mode");
    }
    place
}

/// The answer to a request without a token, or with this header.
fn ask(address: &str, path: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n").expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn without_the_token_nobody_gets_anything() {
    let place = place();
    let lan = Lan::new(&place, 1, "--token-file token");
    let address = lan.url.trim_start_matches("df://");
    for path in ["/", "/api/executors", "/api/jobs", "/api/state", "/work/a", "/nothing", "/healthz"] {
        for header in ["", "Authorization: Bearer \r\n", "Authorization: Bearer fedcba9876543210fedcba9876543210\r\n"] {
            let answer = ask(address, path, header);
            assert!(answer.starts_with("HTTP/1.1 401") && answer.ends_with("\r\n\r\n"), "{path} {header}: {answer}");
        }
    }
    let good = ask(address, "/api/executors", &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(good.starts_with("HTTP/1.1 200") && good.contains("host0"), "{good}");
    for other in ["", "--token-file other"] {
        let ended = place.run(&format!("run graph.yaml --progress off --cluster {} {other}", lan.url));
        assert_eq!(ended.code, Some(2), "{other}: {ended:?}");
        assert!(ended.err.contains("the token is missing or another one"), "{ended:?}");
        let mut executor =
            Process::start(&place, "stranger", &format!("cluster executor --scheduler {} {other}", lan.url));
        assert_eq!(executor.ended().code, Some(2), "{}", executor.said());
    }
    assert!(!place.path("out/manifest.json").exists());
    place.done(&lan.run(""));
    assert!(place.path("out/manifest.json").exists());
}

#[test]
fn one_process_listens_and_on_this_machine_alone() {
    let place = place();
    let lan = Lan::new(&place, 1, "");
    let mut client = Process::start(&place, "client", &lan.run(""));
    let of = |process: &Process| listening(process.child.id());
    assert_eq!(of(&lan.scheduler), [lan.url.trim_start_matches("df://").to_owned()]);
    assert_eq!((of(&lan.executors[0]), of(&client)), (vec![], vec![]));
    assert_eq!(client.ended().code, Some(0), "{}", client.said());
    // Beyond it only with a secret, or when told so in words.
    let open = place.run("cluster scheduler --listen 0.0.0.0:0");
    assert_eq!(open.code, Some(2), "{open:?}");
    assert!(open.err.contains("--token-file") && open.err.contains("--insecure"), "{open:?}");
    place.write("public", TOKEN);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(place.path("public"), mode).unwrap();
    let readable = place.run("cluster scheduler --token-file public");
    assert!(readable.code == Some(2) && readable.err.contains("chmod 600"), "{readable:?}");
}

/// Addresses that a process listens on.
fn listening(process: u32) -> Vec<String> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .expect("its files")
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned))
        .collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let listens = words[3] == "0A" || table.starts_with("udp");
            if listens && sockets.contains(&words[9].to_owned()) {
                found.push(readable(words[1]));
            }
        }
    }
    found
}

/// `0100007F:C383` as `127.0.0.1:50051`; what is no IPv4 stays as it is.
fn readable(address: &str) -> String {
    let (host, port) = address.split_once(':').expect("a port");
    match (u32::from_str_radix(host, 16), u16::from_str_radix(port, 16)) {
        (Ok(host), Ok(port)) if address.len() == 13 => {
            format!("{}:{port}", std::net::Ipv4Addr::from(host.swap_bytes()))
        }
        _ => address.to_owned(),
    }
}

#[test]
fn a_machine_that_sees_other_files_is_refused_by_name() {
    let place = place();
    let mut lan = Lan::new(&place, 0, "");
    place.write("elsewhere/audio/00000.flac", b"one clip alone");
    let args = format!("cluster executor --scheduler {} --slots 1 --name odd", lan.url);
    let odd = Process::start_in(&place, "odd", &args, &place.path("elsewhere"));
    odd.says("joined");
    lan.executors.push(odd);
    let ended = place.run(&lan.run(""));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let words = [
        "on odd: 1 clips in 1 units are listed here, 8 in 2 where the client runs",
        "unit 0 is another",
        "start executors in that folder",
    ];
    assert!(words.iter().all(|words| ended.err.contains(words)), "{ended:?}");
    assert!(!place.path("elsewhere/out").exists(), "it has made a folder");
}

#[test]
fn graphs_that_are_none_for_a_cluster_are_refused_before_anything_is_asked() {
    let place = place();
    let sink = |sink: &str| SEEDED.replace("{ type: sink_shards, path: out, dtype: f16 }", sink);
    place.write("tar.yaml", sink("{ type: sink_webdataset, path: out, content: tensors }"));
    let ended = place.run("run tar.yaml --cluster df://127.0.0.1:1");
    assert!(ended.code == Some(2) && ended.err.contains("sink_shards"), "{ended:?}");
    let nobody = place.run("run graph.yaml --progress off --cluster df://127.0.0.1:1");
    assert!(nobody.code == Some(1) && nobody.err.contains("no scheduler answers at df://127.0.0.1:1"), "{nobody:?}");
    let address = place.run("run graph.yaml --cluster http://127.0.0.1:1/");
    assert!(address.code == Some(2) && address.err.contains("df://host:50050"), "{address:?}");
}
