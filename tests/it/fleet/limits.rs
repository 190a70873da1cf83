//! What an upstream is spared.

use super::*;

#[test]
fn past_its_limit_an_upstream_gets_nothing_more() {
    let replica = Replica::start("a");
    let proxy = start(&[&replica], "max_connections = 2", "");
    let (one, two) = (open(&proxy, "").unwrap(), open(&proxy, "").unwrap());
    let mut client = proxy.client();
    let mut ask =
        || client.send("GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n").read_response().unwrap();
    let refused = ask();
    assert_eq!((refused.status, refused.code().as_str()), (503, "upstream_overloaded"));
    assert_eq!(refused.field("retry-after"), Some("2"));
    assert!(open(&proxy, "").is_none());
    drop(one);
    wait_until("there is room", || ask().status == 200);
    drop(two);
    assert_eq!(proxy.log(1)[0]["code"], "upstream_overloaded");
}
