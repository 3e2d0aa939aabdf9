//! What steps print, as events tell it.

use kiln_wire::run::{Event, LINE_MAX_BYTES};

use crate::rig::{Scenario, Told, steps};

async fn printed(command: &str) -> Told {
    Scenario::new(&steps(&format!(r#"- step: {{name: s, type: Run, spec: {{command: '{command}'}}}}"#))).run().await
}

#[tokio::test]
async fn a_character_that_comes_in_two_pieces_is_whole() {
    let command = r"printf \\303; sleep 0.2; printf \\251\\n; printf é%.0s $(seq 30000)";
    let told = printed(command).await.output("a", "s");
    assert!(told == format!("é\n{}", "é".repeat(30000)), "{} bytes", told.len());
}

#[tokio::test]
async fn a_very_long_line_is_cut_at_the_same_places_each_time_and_the_pieces_are_marked() {
    for pause in ["", "sleep 0.1; "] {
        let command = format!("echo begin; printf %050000d 0; {pause}printf %020000d 0; echo; echo end");
        let told = printed(&command).await;
        let (mut at, mut cuts, mut continues) = (0, Vec::new(), Vec::new());
        for event in &told.events {
            let Event::Output { text, continues: begun, goes_on, .. } = event else { continue };
            if *begun {
                continues.push(at);
            }
            at += text.len();
            if *goes_on {
                cuts.push(at);
            }
        }
        let begin = "begin\n".len();
        assert_eq!(cuts, [1, 2, 3, 4].map(|n| begin + n * LINE_MAX_BYTES));
        assert!(continues.iter().all(|at| (cuts[0]..=begin + 70_000).contains(at)), "{continues:?}");
        assert!(cuts.iter().all(|cut| continues.contains(cut)), "{continues:?}");
        assert_eq!(told.output("a", "s"), format!("begin\n{}\nend\n", "0".repeat(70_000)));
    }
}
