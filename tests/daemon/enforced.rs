//! `check --as-enforced`: what was in force at a moment, as the ledger recorded it.

use crate::git::Lab;
use crate::harness::Home;
use crate::tier;
use crate::upstream::Upstream;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// Now, with a breath on both sides, so that nothing that is recorded falls on the moment.
fn moment() -> String {
    sleep(Duration::from_millis(300));
    let now = crate::harness::run(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%3NZ"])).good();
    sleep(Duration::from_millis(300));
    now.trim().to_owned()
}

#[test]
fn a_moment_is_judged_by_the_commits_and_settings_that_were_in_force_then() {
    let Some(mut lab) = tier::program("git").and_then(|_| tier::program("ssh-keygen")).map(|_| Lab::new()) else {
        return;
    };
    let upstream = Upstream::start([]);
    let signers = lab.path("signers").display().to_string();
    let entry = format!(
        "[[blocklist]]\nid = \"geo\"\ngit = \"{}\"\nbranch = \"main\"\npath = \"lists\"\nsigners = \"{signers}\"\nevery = \"1d\"\n\
         [[blocklist]]\nid = \"mine\"\npath = \"mine.txt\"\n",
        lab.url()
    );
    let before = moment();
    let first = lab.publish("one.example\n");
    let home = Home::new(upstream.address, &entry);
    home.write("mine.txt", "own.example\n");
    home.run(&["sync"]).good();
    let daemon = home.start();
    let at_first = moment();
    let second = lab.publish("two.example\n");
    home.run(&["sync"]).good();
    let at_second = moment();
    let spared = "[[exception]]\nname = \"two.example\"\nreason = \"r\"\napprover = \"a\"\n";
    let text = std::fs::read_to_string(home.path("interdict.toml")).unwrap();
    home.write("interdict.toml", &(text.clone() + spared));
    home.run(&["reload"]).good();
    let at_spared = moment();
    home.run(&["pause", "10m", "--reason", "test"]).good();
    let at_paused = moment();
    home.run(&["pause", "off"]).good();
    home.write("interdict.toml", &text);
    home.run(&["reload"]).good();

    let check = |at: &str| {
        let args = ["check", "--as-enforced", "--at", at, "--format", "jsonl", "one.example", "two.example"];
        home.run(&args).jsonl()
    };
    for (at, verdicts, commit) in [
        (&at_first, ["block", "allow"], &first),
        (&at_second, ["allow", "block"], &second),
        (&at_spared, ["allow", "allow"], &second),
        (&at_paused, ["allow", "allow"], &second),
    ] {
        let said = check(at);
        assert_eq!(
            [&said[0]["verdict"], &said[1]["verdict"]],
            verdicts.map(serde_json::Value::from).each_ref(),
            "{at}: {said:#?}"
        );
        let rules = said.iter().filter(|one| one["verdict"] == "block");
        assert!(rules.clone().all(|one| one["rule"]["commit"]["id"] == commit.as_str()), "{at}: {said:#?}");
        assert_eq!(said[0]["enforced"].as_array().unwrap().len(), 1 + usize::from(at == &at_paused), "{said:#?}");
    }
    let said = home.run(&["check", "--as-enforced", "--at", &at_first, "one.example"]).good();
    assert!(said.starts_with("policy ") && said.contains(&format!("\n  commit   {first} of ")), "{said}");
    let ran = home.run(&["check", "--as-enforced", "--at", &before, "one.example"]);
    assert!(ran.code == Some(1) && ran.err.contains("nothing that was in force at"), "{}", ran.err);
    // What is in force now needs no moment.
    assert!(home.run(&["check", "--as-enforced", "two.example"]).good().contains("two.example: block"));

    // A file is not kept: what it was cannot be told once it has changed.
    home.write("mine.txt", "own.example\nmore.example\n");
    home.run(&["reload"]).good();
    let ran = home.run(&["check", "--as-enforced", "--at", &at_first, "one.example"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("cannot be told: mine had revision ") && ran.err.contains(" now"), "{}", ran.err);
    home.write("mine.txt", "own.example\n");
    home.run(&["reload"]).good();

    daemon.stop(Duration::from_secs(10));
    let at_stopped = moment();
    let _daemon = home.start();
    let said = check(&at_stopped);
    assert!(said[0]["enforced"][1].as_str().unwrap().starts_with("no daemon ran from "), "{said:#?}");
}
