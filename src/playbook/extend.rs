//! A playbook that extends a standard one: its own plays have their places among those, so that a
//! lab with one step more need not repeat all others.

use super::component::PlayEntry;

/// Adds the plays of `own` to those of `base`. One with the name of a play that is there replaces
/// it; any other comes right below the last play that it comes after.
pub(super) fn extended(base: Vec<PlayEntry>, own: Vec<PlayEntry>) -> Vec<PlayEntry> {
    let mut plays = base;
    for entry in own {
        if let Some(there) = plays.iter().position(|play| play.name == entry.name) {
            plays[there] = entry;
            continue;
        }
        let last = plays.iter().rposition(|play| entry.after.contains(&play.name));
        plays.insert(last.map_or(0, |at| at + 1), entry);
    }
    plays
}

/// Turns each play's `before` into the `after` of the plays that it names.
///
/// # Errors
/// If there is no such play.
pub(super) fn ordered(plays: &mut [PlayEntry]) -> Result<(), String> {
    let wanted: Vec<(String, Vec<String>)> =
        plays.iter().map(|play| (play.name.clone(), play.before.clone())).collect();
    for (name, later) in wanted.iter().flat_map(|(name, all)| all.iter().map(move |it| (name, it)))
    {
        let there = plays.iter_mut().find(|play| play.name == *later);
        let there = there.ok_or_else(|| {
            format!("play `{name}` comes before `{later}`, and there is no such play")
        })?;
        there.after.push(name.clone());
    }
    Ok(())
}
