//! A crate imports only from floors below its own, and the walls between dependency trees hold.

use std::process::Command;

use serde_json::Value;

/// The floors of src/ARCHITECTURE.md, from the ground up.
const FLOORS: [&[&str]; 5] = [
    &["codec", "detect", "query", "stats"],
    &["disk", "wire"],
    &["hal", "identity", "journal", "link", "store"],
    &["agent", "hub"],
    &["outpost", "outpost-hub", "sim"],
];

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(arguments).arg("--offline").output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo speaks UTF-8")
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|crates| crates.contains(&name))
}

#[test]
fn no_crate_imports_from_its_own_floor_or_above() {
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])).expect("metadata is JSON");
    let mut checked_count = 0;
    for package in metadata["packages"].as_array().expect("a workspace has packages") {
        let name = package["name"].as_str().expect("a package has a name");
        let Some(own) = floor(name) else {
            assert_eq!(name, "tests", "{name} stands on no floor: see src/ARCHITECTURE.md");
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("a list") {
            let below = dependency["name"].as_str().expect("a dependency has a name");
            if let (true, Some(its)) = (dependency["kind"].is_null(), floor(below)) {
                assert!(its < own, "{name} on floor {} imports {below} of floor {}", own + 1, its + 1);
                checked_count += 1;
            }
        }
    }
    assert!(checked_count > 30, "only {checked_count} imports were seen");
}

#[test]
fn nothing_of_the_hubs_tree_is_in_the_agents() {
    let tree = cargo(&["tree", "--package", "outpost", "--edges", "normal", "--prefix", "none"]);
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"smol") && names.contains(&"redb"), "{names:?}");
    for stranger in ["tokio", "tokio-rustls", "serde_json", "hub", "store", "outpost-hub"] {
        assert!(!names.contains(&stranger), "the agent pulls {stranger} in");
    }
}
