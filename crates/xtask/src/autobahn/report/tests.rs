//! The judge, on reports made up for it.

use serde_json::json;

use super::*;

/// Judges a report with these cases, expecting as many as there are.
fn judge(cases: &[(&str, &str, &str)]) -> Judgement {
    judge_expecting(cases, cases.len())
}

fn judge_expecting(cases: &[(&str, &str, &str)], expected: usize) -> Judgement {
    report(cases).judge(expected, true)
}

fn report(cases: &[(&str, &str, &str)]) -> Report {
    let mut entries = serde_json::Map::new();
    for &(id, behavior, close) in cases {
        entries.insert(id.to_owned(), json!({ "behavior": behavior, "behaviorClose": close }));
    }
    let index = json!({ "Framewright": entries }).to_string();
    Report::parse(&index, "Framewright").expect("a well-formed report")
}

#[test]
fn ok_for_behavior_and_close_passes() {
    let judgement = judge(&[("1.1.1", "OK", "OK"), ("6.4.1", "OK", "OK")]);
    assert_eq!((judgement.passed, judgement.failures.len()), (2, 0));
}

#[test]
fn anything_but_ok_fails() {
    for behavior in ["NON-STRICT", "FAILED", "UNIMPLEMENTED", "INFORMATIONAL", "UNKNOWN", "ok", ""] {
        let judgement = judge(&[("6.4.1", behavior, "OK"), ("6.4.2", "OK", "OK")]);
        assert_eq!((judgement.passed, judgement.failures.len()), (1, 1), "{behavior}");
    }
}

#[test]
fn anything_but_ok_for_the_close_fails() {
    for close in ["NON-STRICT", "FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "INFORMATIONAL", ""] {
        assert_eq!(judge(&[("1.1.1", "OK", close)]).failures.len(), 1, "{close}");
    }
}

#[test]
fn informational_passes_for_three_cases_only() {
    for id in ["7.1.6", "7.13.1", "7.13.2"] {
        assert_eq!(judge(&[(id, "INFORMATIONAL", "INFORMATIONAL")]).passed, 1, "{id}");
        assert_eq!(judge(&[(id, "INFORMATIONAL", "OK")]).passed, 1, "{id}");
        assert_eq!(judge(&[(id, "INFORMATIONAL", "UNCLEAN")]).passed, 0, "{id}");
    }
    for id in ["7.1.5", "7.1.7", "7.1", "7.1.6.1", "7.3.1", "7.7.13", "1.1.1", "12.1.1"] {
        assert_eq!(judge(&[(id, "INFORMATIONAL", "INFORMATIONAL")]).passed, 0, "{id}");
    }
}

#[test]
fn compression_has_to_be_implemented() {
    for id in ["12.1.1", "12.5.18", "13.7.18"] {
        assert_eq!(judge(&[(id, "OK", "OK")]).passed, 1, "{id}");
        assert_eq!(judge(&[(id, "UNIMPLEMENTED", "OK")]).passed, 0, "{id}");
    }
}

#[test]
fn without_compression_its_cases_are_unimplemented_and_the_others_are_not() {
    let judge = |id, behavior, close| report(&[(id, behavior, close)]).judge(1, false);
    for id in ["12.1.1", "13.7.18"] {
        assert_eq!(judge(id, "UNIMPLEMENTED", "OK").passed, 1, "{id}");
        for (behavior, close) in
            [("OK", "OK"), ("UNIMPLEMENTED", "UNCLEAN"), ("FAILED", "OK"), ("INFORMATIONAL", "OK")]
        {
            assert_eq!(judge(id, behavior, close).passed, 0, "{id} {behavior} {close}");
        }
    }
    assert_eq!(judge("1.1.1", "UNIMPLEMENTED", "OK").passed, 0);
    assert_eq!(judge("1.1.1", "OK", "OK").passed, 1);
}

#[test]
fn the_table_has_a_column_for_what_is_unimplemented_where_something_is() {
    let judgement = report(&[("1.1.1", "OK", "OK"), ("12.1.1", "UNIMPLEMENTED", "OK")]).judge(2, false);
    assert_eq!(
        judgement.table(),
        "\
| cases                                  |    OK | INFORMATIONAL | UNIMPLEMENTED | failed |
|----------------------------------------|------:|--------------:|--------------:|-------:|
| 1 framing                              |     1 |             0 |             0 |      0 |
| 12 compression, different payloads     |     0 |             0 |             1 |      0 |
| **all**                                |     1 |             0 |             1 |      0 |
"
    );
}

#[test]
fn missing_cases_fail_the_run() {
    let judgement = judge_expecting(&[("1.1.1", "OK", "OK")], ALL_CASES);
    assert_eq!(judgement.passed, 1);
    assert_eq!(judgement.failures, ["the run: 1 cases are in the report, not 517"]);
    assert_eq!(judge_expecting(&[], 1).failures.len(), 1);
    assert_eq!(judge_expecting(&[("1.1.1", "OK", "OK"), ("1.1.2", "OK", "OK")], 1).failures.len(), 1);
}

#[test]
fn a_failure_names_the_case_the_verdicts_and_what_it_was_about() {
    let case = Case {
        id: CaseId::parse("6.4.1").expect("a number"),
        behavior: "NON-STRICT".to_owned(),
        close: "OK".to_owned(),
        details: json!({
            "description": "Send invalid UTF-8\nin 3 fragments.<br><br>MESSAGE: x",
            "result": "Actual events match at least one expected.",
            "resultClose": null,
        }),
    };
    assert_eq!(
        case.to_string(),
        "6.4.1: behavior NON-STRICT, behaviorClose OK\n    case: Send invalid UTF-8 in 3 fragments. \
         MESSAGE: x\n    result: Actual events match at least one expected."
    );
}

#[test]
fn the_table_counts_by_group_in_numeric_order() {
    let judgement = judge(&[
        ("10.1.1", "OK", "OK"),
        ("9.1.1", "OK", "OK"),
        ("9.1.2", "FAILED", "OK"),
        ("7.1.6", "INFORMATIONAL", "INFORMATIONAL"),
        ("12.1.1", "OK", "OK"),
    ]);
    let rows: Vec<Vec<String>> = judgement
        .table()
        .lines()
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["7 close handling", "0", "1", "0"],
            ["9 limits and performance", "1", "0", "1"],
            ["10 auto-fragmentation", "1", "0", "0"],
            ["12 compression, different payloads", "1", "0", "0"],
            ["**all**", "3", "1", "1"],
        ]
    );
}

#[test]
fn a_report_about_nobody_or_without_verdicts_is_an_error() {
    for index in ["", "{}", r#"{"Other":{}}"#, r#"{"Framewright":{"1.1.1":{"behavior":"OK"}}}"#] {
        assert!(Report::parse(index, "Framewright").is_err(), "{index}");
    }
    assert!(Report::parse(r#"{"Framewright":{"x":{}}}"#, "Framewright").is_err());
}

#[test]
fn a_run_without_a_report_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder for scratch files");
    assert!(Report::read(folder.path(), "Framewright").is_err());
}
