//! Graphs that ask a server: `http`, and results that are kept.

use std::path::Path;
use std::sync::{Arc, Barrier};

use serde_json::{Value, json};

use crate::ambit::{Ambit, Ran};
use crate::server::{Reply, Server};

/// Writes a graph whose node `ask` has these fields, and says how to run it.
fn asking(ambit: &Ambit, with: &str, more: &str) -> String {
    let graph = format!(
        "outputs: [response]\nnodes: [{{ id: ask, kind: http, with: {{ {with} }}{more} }}]"
    );
    ambit.write("graph.yaml", graph);
    format!("flow run {}", ambit.path("graph.yaml").display())
}

fn with_input(ambit: &Ambit, line: &str, input: &Value) -> String {
    ambit.write("input.json", input.to_string());
    format!("{line} --input {} --json", ambit.path("input.json").display())
}

fn ok(body: &str) -> Reply {
    Reply::Json(200, body.to_owned())
}

#[test]
fn a_request_is_made_of_the_context_and_its_answer_comes_into_it() {
    let server = Server::new(|_, _| ok(r#"{"choices": [{"text": "blue"}], "usage": 3}"#));
    let ambit = Ambit::new();
    let url = server.url("/v1/{{model}}?tag={{tag}}");
    let line = asking(
        &ambit,
        &format!(
            "url: '{url}', headers: {{ x-user: 'user {{{{user}}}}', content-type: application/x-json }},
             body: {{ prompt: 'Q: {{{{question}}}}', n: '{{{{n}}}}', tags: ['{{{{tags}}}}', plain], stream: false }},
             pick: /choices/0/text"
        ),
        "",
    );
    let input = json!({"model": "a/b", "tag": "x&y", "user": 7, "question": "why \"blue\"?",
        "n": 2, "tags": ["t", {"u": null}]});
    let ran = ambit.done(&with_input(&ambit, &line, &input)).json();
    assert_eq!(ran["outputs"], json!({"response": "blue"}));
    let [request] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!(request.line, "POST /v1/a%2Fb?tag=x%26y");
    assert!(request.headers.contains("x-user: user 7\n"), "{}", request.headers);
    assert!(request.headers.contains("content-type: application/x-json\n"), "{}", request.headers);
    let body: Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"prompt": "Q: why \"blue\"?", "n": 2, "tags": [["t", {"u": null}], "plain"],
            "stream": false})
    );
}

#[test]
fn a_get_has_no_body_and_an_empty_answer_is_null() {
    let server = Server::new(|number, _| match number {
        0 => ok("[1, 2.5, \"x\"]"),
        _ => Reply::Raw(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_vec()),
    });
    let ambit = Ambit::new();
    let line = asking(&ambit, &format!("url: '{}'", server.url("/list")), "");
    let line = format!("{line} --json");
    assert_eq!(ambit.done(&line).json()["outputs"]["response"], json!([1, 2.5, "x"]));
    assert_eq!(ambit.done(&line).json()["outputs"]["response"], Value::Null);
    assert_eq!(server.requests()[0].line, "GET /list");
    assert_eq!(server.requests()[0].body, "");
}

#[test]
fn what_may_pass_is_tried_again_and_what_stays_is_not() {
    let server = Server::new(|number, request| match (&*request.line, number) {
        ("GET /gone", _) => Reply::Json(404, r#"{"error": "no such model"}"#.to_owned()),
        (_, 0) => Reply::Json(503, "busy".to_owned()),
        (_, 1) => Reply::HangUp,
        _ => ok("1"),
    });
    let ambit = Ambit::new();
    let retry = ", retry: { attempts: 4, backoff_ms: 1 }";
    let line = asking(&ambit, &format!("url: '{}'", server.url("/a")), retry);
    assert_eq!(ambit.done(&format!("{line} --json")).json()["outputs"]["response"], 1);
    assert_eq!(server.requests().len(), 3);
    let line = asking(&ambit, &format!("url: '{}'", server.url("/gone")), retry);
    ambit.fails(&line, 2, &["node 'ask'", "status 404", "no such model"]);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_server_that_does_not_answer_costs_no_more_than_the_time_that_is_given() {
    let server = Server::new(|_, _| Reply::Silence);
    let ambit = Ambit::new();
    let url = server.url("/");
    let line = asking(&ambit, &format!("url: '{url}', timeout_ms: 50"), "");
    ambit.fails(&line, 6, &["no answer within 50 ms", server.url("").as_str()]);
    let line = asking(&ambit, &format!("url: '{url}'"), ", timeout_ms: 50");
    ambit.fails(&line, 2, &["node 'ask': did not end within 50 ms"]);
    let line = asking(&ambit, &format!("url: '{url}'"), "");
    ambit.fails(&format!("{line} --timeout 50"), 2, &["called off"]);
    // Half an answer is none.
    let half = Server::new(|_, _| {
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{".to_vec())
    });
    let line = asking(&ambit, &format!("url: '{}'", half.url("/")), "");
    ambit.fails(&line, 6, &["node 'ask'", half.url("").as_str()]);
}

#[test]
fn an_answer_that_is_too_large_or_no_json_or_a_detour_is_named() {
    let chunked = |len: usize| {
        let body = format!("{len:x}\r\n{}\r\n0\r\n\r\n", "1".repeat(len));
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{body}")
    };
    let server = Server::new(move |_, request| match &*request.line {
        "GET /fits" => ok(&format!("\"{}\"", "x".repeat(998))),
        "GET /large" => ok(&format!("\"{}\"", "x".repeat(999))),
        "GET /chunks" => Reply::Raw(chunked(1001).into_bytes()),
        "GET /html" => ok("<html>"),
        "GET /deep" => ok(&"[".repeat(900)),
        "GET /there" => Reply::Raw(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
                .to_vec(),
        ),
        _ => ok("{\"a\": [1]}"),
    });
    let ambit = Ambit::new();
    let at = |path: &str, more: &str| {
        asking(&ambit, &format!("url: '{}', max_bytes: 1000{more}", server.url(path)), "")
    };
    ambit.done(&at("/fits", ""));
    for path in ["/large", "/chunks"] {
        ambit.fails(&at(path, ""), 2, &["larger than 1000 B", "max_bytes"]);
    }
    ambit.fails(&at("/html", ""), 2, &["the answer is no JSON: expected value at line 1 column 1"]);
    ambit.fails(&at("/deep", ""), 2, &["the answer is no JSON: recursion limit"]);
    ambit.fails(&at("/there", ""), 2, &["status 302", "does not go where a server sends it"]);
    ambit.fails(&at("/ok", ", pick: /a/7"), 2, &["no part '/a/7'"]);
    assert_eq!(
        ambit.done(&format!("{} --json", at("/ok", ", pick: /a/0"))).json()["outputs"]["response"],
        1
    );
    // Its bytes are the budget's, too.
    let big = Server::new(|_, _| ok(&format!("\"{}\"", "x".repeat(6 << 20))));
    let line = asking(&ambit, &format!("url: '{}'", big.url("/")), "");
    ambit.fails(&format!("{line} --budget 12MiB"), 3, &["budget"]);
    ambit.fails(&format!("{line} --run-budget 1MiB"), 3, &["over the run's budget"]);
}

/// Runs with a variable that holds a secret.
fn knowing(ambit: &Ambit, line: &str, secret: &str) -> Ran {
    Ran::from(ambit.command(line).env("MODEL_KEY", secret).output().unwrap())
}

#[test]
fn a_secret_reaches_the_server_and_nobody_else() {
    let server = Server::new(|_, request| match &*request.line {
        "GET /echo" => Reply::Json(401, format!("{{\"got\": {:?}}}", request.headers)),
        _ => ok("true"),
    });
    let ambit = Ambit::new();
    let header = "headers: { authorization: { env: MODEL_KEY, prefix: 'Bearer ' } }";
    let line = asking(&ambit, &format!("url: '{}', {header}", server.url("/")), "");
    let ran = knowing(&ambit, &format!("{line} --trace --draw out.svg --json"), "k-12345");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(server.requests()[0].headers.contains("authorization: bearer k-12345\n"));
    let drawn = std::fs::read_to_string(ambit.path("out.svg")).unwrap();
    assert!(![&ran.stdout, &ran.stderr, &drawn].iter().any(|text| text.contains("12345")));
    // A server that says it back is not believed to be discreet.
    let echo = asking(&ambit, &format!("url: '{}', {header}", server.url("/echo")), "");
    let ran = knowing(&ambit, &echo, "k-12345");
    ran.failed(2, &["status 401", "authorization: bearer ***"]);
    assert!(!ran.stderr.contains("12345"), "{ran:?}");
    // Signs that a header cannot have are not told either.
    let ran = knowing(&ambit, &line, "k-12345\nx-evil: 1");
    ran.failed(2, &["header 'authorization' has a value with signs that headers cannot have"]);
    assert!(!ran.stderr.contains("12345"), "{ran:?}");
    let line = asking(&ambit, &format!("url: '{}', {header}", server.url("/")), "");
    ambit.fails(&line, 2, &["header 'authorization'", "MODEL_KEY, which is not set"]);
    let line = asking(&ambit, &format!("url: 'http://192.0.2.1/', {header}"), "");
    ambit.fails(&line.replace("flow run", "flow check"), 2, &["in plain text; use https"]);
}

#[test]
fn a_refused_connection_and_a_line_break_in_a_header_are_named() {
    let ambit = Ambit::new();
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line = asking(&ambit, &format!("url: 'http://127.0.0.1:{port}/'"), "");
    ambit.fails(&line, 6, &["node 'ask'", &format!("http://127.0.0.1:{port}: ")]);
    let line = asking(&ambit, "url: 'http://127.0.0.1:1/', headers: { x-a: '{{a}}' }", "");
    let line = with_input(&ambit, &line, &json!({"a": "b\r\nx-evil: 1"}));
    ambit.fails(&line, 2, &["header 'x-a' has a value with signs that headers cannot have"]);
    ambit.fails(&asking(&ambit, "url: 'http://127.0.0.1:1/{{a}}'", ""), 2, &["under 'a'"]);
}

#[test]
fn an_answer_is_kept_for_the_time_that_the_graph_says_and_a_failure_is_not() {
    let server = Server::new(|number, _| match number {
        0 => Reply::Json(500, "\"no\"".to_owned()),
        _ => ok(&number.to_string()),
    });
    let ambit = Ambit::new();
    let with = format!("url: '{}', body: {{ q: '{{{{q}}}}' }}", server.url("/"));
    let run = |line: &str, input: &str| {
        ambit.write("inputs.jsonl", input);
        let input = ambit.path("inputs.jsonl");
        ambit.run(&format!("{line} --input {} --trace --json", input.display()))
    };
    let kept = asking(&ambit, &with, ", cache: { ttl_ms: 600000 }");
    run(&kept, r#"{"q": 1}"#).failed(6, &["status 500"]);
    let ran = run(&kept, r#"{"q": 1} {"q": 1} {"q": 2} {"q": 1} {"q": "1"} {"q": 2}"#).json_lines();
    let told: Vec<_> = ran
        .iter()
        .map(|ran| (ran["outputs"]["response"].clone(), ran["trace"][0]["cache"].clone()))
        .collect();
    let expected = [(1, "miss"), (1, "hit"), (2, "miss"), (1, "hit"), (3, "miss"), (2, "hit")];
    let expected: Vec<_> = expected.map(|(n, lookup)| (json!(n), json!(lookup))).into();
    assert_eq!(told, expected);
    assert_eq!(server.requests().len(), 4);
    // A model may answer differently another time, so the graph has to say how old is too old.
    let unsaid = asking(&ambit, &with, ", cache: true");
    run(&unsaid, r#"{"q": 1}"#).failed(2, &["say how old an answer may be"]);
    run(&format!("{kept} --cache 10"), r#"{"q": 1}"#).failed(2, &["--cache: a cap of 10 B"]);
}

#[test]
fn the_elements_of_a_list_are_asked_for_at_once() {
    // Each request waits for the other one: one by one they would wait for ever.
    let both = Arc::new(Barrier::new(2));
    let server = Server::new(move |_, request| {
        both.wait();
        ok(&request.body)
    });
    let ambit = Ambit::new();
    let graph = format!(
        "
outputs: [response]
nodes:
  - id: each
    kind: map
    with: {{ graph: {{ outputs: [response], nodes: [
      {{ id: ask, kind: http, with: {{ url: '{}', body: '{{{{item}}}}' }} }} ] }} }}
",
        server.url("/")
    );
    ambit.write("graph.yaml", graph);
    let line = format!("flow run {} --workers 2", ambit.path("graph.yaml").display());
    let ran = ambit.done(&with_input(&ambit, &line, &json!({"items": ["a", "b", 3, null]}))).json();
    assert_eq!(ran["outputs"]["response"], json!(["a", "b", 3, null]));
}

#[test]
fn the_answer_example_asks_a_model_with_what_the_store_knows() {
    let server = Server::new(|_, request| {
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let prompt = body["messages"][1]["content"].as_str().unwrap();
        assert!(prompt.contains("[wal]\nThe write-ahead log makes"), "{prompt}");
        ok(r#"{"choices": [{"message": {"content": "The log."}}]}"#)
    });
    let ambit = Ambit::new();
    let example =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flow").join(name);
    let (ingest, notes) = (example("ingest.yaml"), example("notes.jsonl"));
    ambit.done(&format!("flow run {} --input {}", ingest.display(), notes.display()));
    // The example asks a server on this machine; here it is another port.
    let answer = std::fs::read_to_string(example("answer.yaml")).unwrap();
    assert!(answer.contains("http://127.0.0.1:8080/"));
    ambit.write("answer.yaml", answer.replace("http://127.0.0.1:8080/", &server.url("/")));
    let line = format!("flow run {}", ambit.path("answer.yaml").display());
    let input = json!({"question": "what makes a write durable?"});
    let ran = ambit.done(&format!("{} --repeat 3", with_input(&ambit, &line, &input))).json();
    assert_eq!(ran["outputs"]["answer"], "The log.");
    assert_eq!(ran["outputs"]["sources"][0], "wal");
    // Warm-up and all: one request.
    assert_eq!(server.requests().len(), 1);
    ambit.done(&format!("flow check {}", example("answer.yaml").display()));
}
