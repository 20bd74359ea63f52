//! The example, run to its end.

use std::env;
use std::process::Command;

#[test]
fn the_driver_on_blocking_sockets_serves_its_clients() {
    let test = env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("a build folder").join("examples");
    let program = folder.join("sans_io").with_extension(env::consts::EXE_EXTENSION);
    let output = Command::new(program).output().expect("an example that is built: `cargo build --examples`");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let closed: Vec<&str> = printed.lines().collect();
    assert_eq!(closed.len(), 2, "{printed}");
    assert_eq!(closed[0], "closed: 1005 None");
    assert!(closed[1].starts_with("closed: 1006 Some("), "{printed}");
}
