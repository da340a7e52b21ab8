//! `--accumulate`: a report that is added to what earlier runs left in the same folder.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use crate::manifest::{Collected, Loss, Manifest};
use crate::staging::Staging;

/// Takes over what earlier runs have left: their files, and what they have lost. The files of a container join those of
/// the same container; a later container of the same name has got a folder of its own.
///
/// # Errors
/// When the staging folder cannot be written.
pub(crate) fn accumulate(manifest: &mut Manifest, earlier: Manifest, staging: &Staging) -> Result<()> {
    manifest.losses.extend(earlier_losses(manifest, &earlier));
    give_own_folders(&mut manifest.containers, &earlier.containers, staging.path())?;
    for mut old in earlier.containers {
        let new = manifest.containers.iter_mut().find(|new| new.is(&old));
        let folder = new.as_ref().map_or(&old.folder, |new| &new.folder).clone();
        if let Some(new) = &new {
            // Go never writes a name twice: it is the same file.
            old.files.retain(|file| new.files.iter().all(|newer| newer.name != file.name));
        }
        for file in &old.files {
            staging
                .take_over(&Path::new(&old.folder).join(&file.name), &Path::new(&folder).join(&file.name))?;
        }
        match new {
            Some(new) => {
                new.files.append(&mut old.files);
                new.files.sort();
                old.live.retain(|process| new.live.iter().all(|newer| newer.counters != process.counters));
                new.live.append(&mut old.live);
            }
            None => manifest.containers.push(Collected { earlier: true, ..old }),
        }
    }
    Ok(())
}

/// What earlier runs have lost, but for what they lost of containers that this run has collected again: that has been
/// found once more if it is still missing.
fn earlier_losses(manifest: &Manifest, earlier: &Manifest) -> Vec<Loss> {
    let again = |loss: &&Loss| {
        let mut containers = earlier.containers.iter().filter(|old| old.has(loss)).peekable();
        let collected = containers.peek().is_some()
            && containers.all(|old| manifest.containers.iter().any(|new| new.is(old)));
        collected || manifest.losses.iter().any(|new| new.message == loss.message)
    };
    let earlier = earlier.losses.iter().filter(|loss| !again(loss));
    earlier.map(|loss| Loss { earlier: true, ..loss.clone() }).collect()
}

/// Moves what has been collected of another container than the one whose folder it would get: of another cluster, or of
/// a later pod of the same name. A container's name has no dot, so no other has the new name.
fn give_own_folders(new: &mut [Collected], earlier: &[Collected], staging: &Path) -> Result<()> {
    for collected in new {
        let own = collected.folder.clone();
        if let Some(same) = earlier.iter().find(|old| collected.is(old)) {
            collected.folder.clone_from(&same.folder);
        } else {
            let taken = |folder: &str| earlier.iter().any(|old| old.folder == folder);
            let mut number = 1;
            while taken(&collected.folder) {
                number += 1;
                collected.folder = format!("{own}.{number}");
            }
        }
        let (from, to) = (staging.join(&own), staging.join(&collected.folder));
        if own != collected.folder && from.exists() {
            fs::rename(from, to)?;
        }
    }
    Ok(())
}
