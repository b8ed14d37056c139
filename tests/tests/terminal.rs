//! `brain` in a terminal of its own: what is drawn in place, on the screen that a person sees.

use anyhow::Result;
use brain_tests::{
    browser::{self, Script},
    command::Person,
    terminal::Terminal,
    world::World,
};
use serde_json::json;
use std::fs;

const CTRL_C: &[u8] = b"\x03";
const HINT: &str = "Ctrl-C stops watching; the deployment goes on";

#[tokio::test]
async fn a_deployment_is_drawn_in_place_and_ctrl_c_only_stops_the_drawing() -> Result<()> {
    let world = World::start().await?;
    let mut definition = world.definition();
    definition["rolloutPolicy"] = json!({"steps": [{"percent": 33, "hold": true}]});
    world.first_deployment_of(definition).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    let ann = Person::at(&world.server.address())?;

    let mut first = Terminal::start(&ann, "deploy user 0.0.5 --watch", 100)?;
    let held =
        ["flowcommerce/user:0.0.5  user/2, asked for by ann", " 67% █", " 33% █", "2 of 2 healthy", "1 of 1 healthy"];
    let screen = first.shows(&[&held[..], &["paused", "rollout policy", HINT]].concat()).await?;
    // However often it was drawn, it stands there once, and what happened stands above it.
    for line in [HINT, " 33% █", "asked for by ann"] {
        assert_eq!(screen.matches(line).count(), 1, "{line:?} on\n{screen}");
    }
    fs::create_dir_all(browser::screenshots())?;
    fs::write(browser::screenshots().join("terminal.html"), first.page())?;
    Script::start("terminal", "")?.done().await?;
    first.press(CTRL_C).await?;
    let (status, screen) = first.end().await?;
    assert_eq!(status.code(), Some(130), "{screen}");
    assert!(screen.contains("detached: deployment user/2 goes on") && !screen.contains(HINT), "{screen}");

    // In a narrow terminal lines are cut: one that went on in the next row would be left behind at each drawing.
    let second = Terminal::start(&ann, "status user/2 --watch", 40)?;
    let screen = second.shows(&["flowcommerce/user:0.0.5", " 67%", "paused", "…"]).await?;
    assert_eq!(screen.matches("flowcommerce/user:0.0.5").count(), 1, "{screen}");
    ann.done(&["promote", "user", "--to-end"]).await?;
    let (status, screen) = second.end().await?;
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(screen.contains("0.0.5 has all traffic") && !screen.contains('█'), "{screen}");

    let mut board = Terminal::start(&ann, "board --watch", 100)?;
    board.shows(&["flowcommerce/user", "0.0.5: 100%"]).await?;
    board.press(CTRL_C).await?;
    let (status, screen) = board.end().await?;
    assert_eq!(status.code(), Some(130), "{screen}");
    world.unharmed().await
}
