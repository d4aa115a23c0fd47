use super::lacks;
use crate::detect::{Catalogue, RuleFile};

const PIPELINE: &str =
    "name: names\ntransformations: [{type: field_name_mapping, mapping: {Client: c-ip, Size: sc-size}}]\n";

/// What is said of the rule `it`, beside rules over access logs, sshd and what no record is of.
fn told(it: &str) -> Vec<String> {
    let simple = |id: &str, log_source: &str, detection: &str| {
        format!("title: {id}\nid: {id}\nname: the_{id}\nlogsource: {{{log_source}}}\ndetection: {detection}\n")
    };
    let correlation = |id: &str, rest: &str| format!("title: {id}\nid: {id}\ncorrelation: {rest}\n");
    let it = if it.starts_with("{type") { correlation("it", it) } else { format!("title: it\nid: it\n{it}\n") };
    let text = [
        simple("web", "category: webserver", "{s: {sc-status: 404}, condition: s}"),
        simple("admin", "category: webserver", "{s: {cs-uri-stem: /admin}, condition: s}"),
        simple("ssh", "product: linux, service: sshd", "{s: {event: accepted}, condition: s}"),
        simple("app", "category: application", "{s: {level: ERROR}, condition: s}"),
        simple("odd", "product: windows", "{s: {Image: x}, condition: s}"),
        simple("wrong", "category: webserver", "{s: {Image: x}, condition: s}"),
        correlation("sizes", "{type: value_sum, rules: [web], timespan: 5m, condition: {field: size, gte: 9}}"),
        it,
    ]
    .join("---\n");
    let (catalogue, problems) =
        Catalogue::load(vec![RuleFile::new("own/it.yml", text), RuleFile::new("own/names.yml", PIPELINE)]);
    assert!(problems.is_empty(), "{problems:?}");
    lacks(&catalogue, catalogue.by_id("it").unwrap())
}

#[test]
fn what_the_log_source_has_is_grouped_by_and_counted() {
    for sound in [
        "{type: event_count, rules: [web], group-by: [c-ip], timespan: 5m, condition: {gte: 5}}",
        "{type: event_count, rules: [web], timespan: 5m, condition: {gte: 5}}",
        "{type: value_count, rules: [web], group-by: [c-ip], timespan: 5m, condition: {field: cs-uri-stem, gte: 5}}",
        "{type: value_count, rules: [web], group-by: [cloudvigil.scanner], timespan: 5m, condition: {field: cloudvigil.web_attack, gte: 2}}",
        "{type: value_avg, rules: [web, app], group-by: [c-ip], timespan: 5m, condition: {field: sc-bytes, gte: 5}}",
        // By aliases: of each rule, of its name, of a chain.
        "{type: temporal, rules: [web, ssh], group-by: [ip], timespan: 5m, aliases: {ip: {web: c-ip, the_ssh: src_ip}}}",
        "{type: value_count, rules: [web], timespan: 5m, condition: {field: what, gte: 2}, aliases: {what: {web: cs-host}}}",
        // What is open may hold any field, and what no record is of none to speak about.
        "{type: event_count, rules: [app], group-by: [tenant], timespan: 5m, condition: {gte: 5}}",
        // By the names of a pipeline.
        "{type: event_count, rules: [web], group-by: [Client], timespan: 5m, condition: {gte: 5}}",
        "logsource: {category: webserver}\ngroup-by: [Client, cs-host]\ndetection: {s: {Client: x}, condition: s}",
        "logsource: {category: webserver}\ngroup-by: []\ndetection: {s: {c-ip: x}, condition: s}",
    ] {
        assert_eq!(told(sound), [""; 0], "{sound}");
    }
}

#[test]
fn a_group_that_tells_nothing_apart_is_told() {
    for (rule, names) in [
        (
            "logsource: {category: webserver}\ngroup-by: [c-ip, src_ip]\ndetection: {s: {c-ip: x}, condition: s}",
            "`group-by` tells nothing apart by 'src_ip', because records of access logs have no field 'src_ip'",
        ),
        (
            "{type: event_count, rules: [web, admin], group-by: [src_ip], timespan: 5m, condition: {gte: 5}}",
            "`group-by` tells nothing apart by 'src_ip', because records of access logs have no field 'src_ip'",
        ),
        (
            "{type: event_count, rules: [web], group-by: [ip], timespan: 5m, condition: {gte: 5}, aliases: {ip: {web: c-ipp}}}",
            "have no field 'c-ipp', which 'ip' stands for",
        ),
        (
            "{type: event_count, rules: [web], group-by: [Size], timespan: 5m, condition: {gte: 5}}",
            "have no field 'sc-size', which 'Size' stands for",
        ),
        (
            "{type: event_count, rules: [web], group-by: [cloudvigil.web_atack], timespan: 5m, condition: {gte: 5}}",
            "have no field 'cloudvigil.web_atack'",
        ),
        (
            "{type: temporal, rules: [web, ssh], group-by: [src_ip], timespan: 5m}",
            "by 'src_ip' of `group-by`, matches of 'web' are counted apart from all others, because records of access logs have no field 'src_ip'",
        ),
        (
            "{type: temporal, rules: [web, ssh], group-by: [ip], timespan: 5m, aliases: {ip: {web: c-ip}}}",
            "matches of 'ssh' are counted apart from all others, because records of syslog have no field 'ip'",
        ),
    ] {
        let told = told(rule);
        assert!(told.len() == 1 && told[0].contains(names), "{rule}: {told:?}");
    }
}

#[test]
fn what_is_counted_in_vain_is_told_with_what_becomes_of_the_rule() {
    let never = "this rule can never match, because ";
    let part = "a part of this rule never matches, because ";
    let size = "records of access logs have no field 'size', whose values it reads";
    for (rule, start, names) in [
        (
            "{type: value_count, rules: [web, admin], timespan: 5m, condition: {field: user, gte: 2}}",
            never,
            "records of access logs have no field 'user', whose values it reads",
        ),
        (
            "{type: value_count, rules: [web, ssh], timespan: 5m, condition: {field: user, gte: 2}}",
            part,
            "records of access logs have no field 'user', whose values it reads",
        ),
        ("{type: value_avg, rules: [web], timespan: 5m, condition: {field: size, lt: 2}}", never, size),
        (
            "{type: event_count, rules: [odd, wrong], timespan: 5m, condition: {gte: 2}}",
            never,
            "'odd' never does, and 'wrong' never does",
        ),
        ("{type: event_count, rules: [odd, web], timespan: 5m, condition: {gte: 2}}", part, "'odd' never does"),
        // Through a chain, as far as it needs what never comes about.
        ("{type: temporal, rules: [sizes, ssh], timespan: 5m}", never, size),
        ("{type: temporal, rules: [sizes, ssh], timespan: 5m, condition: {gte: 1}}", part, size),
        ("{type: temporal, rules: [sizes, ssh], timespan: 5m, condition: sizes or ssh}", part, size),
        ("{type: temporal, rules: [sizes, ssh], timespan: 5m, condition: ssh and not sizes}", part, size),
        ("{type: temporal, rules: [sizes, ssh], timespan: 5m, condition: sizes and not ssh}", never, size),
        (
            "{type: temporal, rules: [wrong, ssh], timespan: 5m, condition: not (ssh or not wrong)}",
            never,
            "'wrong' never does",
        ),
    ] {
        let told = told(rule);
        assert!(told.len() == 1 && told[0] == format!("{start}{names}"), "{rule}: {told:?}");
    }
}
