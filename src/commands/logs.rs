//! `logs`: the journal of a node's units.

use super::exec::hear;
use super::exit::{Exit, Stop};
use super::named::one;
use super::options::Options;
use super::session::{open_to_use, print, refuse_lost_nodes};
use crate::engine::everywhere::Said;
use crate::engine::logs::{JournalPart, journal};
use crate::report::Reporter;

/// Prints a part of the journal of the node called `name`, line by line as it comes.
pub async fn logs(
    name: &str,
    part: &JournalPart,
    options: &Options,
    reporter: &Reporter,
) -> Result<Exit, Stop> {
    let cluster = open_to_use(&options.inventory, reporter)?;
    let node = one(&cluster, name)?;
    refuse_lost_nodes(&cluster)?;
    let mut ok = true;
    let told = |one| {
        match one {
            Said::Output { node, line } if reporter.is_json() => {
                let event = serde_json::json!({ "event": "output", "node": node, "line": line });
                print(reporter, &format!("{event}\n"))?;
            }
            Said::Output { line, .. } => drop(print(reporter, &format!("{line}\n"))?),
            Said::Ended { errors, code, .. } => {
                errors.iter().for_each(|line| reporter.note(line));
                if let Err(why) = &code {
                    reporter.note(why);
                }
                ok &= code == Ok(0);
            }
        }
        Ok(())
    };
    ok &= hear(&cluster, &[node], &journal(part), options, reporter, told).await?;
    Ok(if ok { Exit::Done } else { Exit::Failed })
}
