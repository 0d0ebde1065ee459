//! Bytes that are not what was written: each change is found, or changes no answer.

use super::*;
use crate::log::superblock::{FILE_LEN, SLOT, Superblock};
use crate::log::{FEATURES, FORMAT_VERSION};

/// A store that was closed: all of it is promised.
fn closed(frames: usize) -> SimFs {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    journal.commit(&[table(0, "a")]).unwrap();
    for index in 0..frames {
        write(&mut journal, &vec![index as u8 + 1; 40 + 90 * index]);
    }
    journal.commit(&[Edit::CreateVersion { id: 0, name: "v".into(), created_micros: 5 }]).unwrap();
    journal.close().unwrap();
    sim
}

type Answer = (State, BTreeMap<u64, Vec<u8>>);

fn answer(sim: &SimFs) -> Result<Answer, StoreError> {
    let recovered = recovered(sim)?;
    Ok((recovered.state().clone(), frames(&recovered)?))
}

/// Is the store refused as corrupt, or the answer the same? The number of refusals.
fn found_or_harmless(image: &SimFs, right: &Answer, context: &str) -> usize {
    match answer(image) {
        Ok(found) => {
            assert_eq!(&found, right, "{context}");
            0
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{context}: {error}");
            1
        }
    }
}

#[test]
fn every_flipped_bit_is_found_or_changes_nothing() {
    let sim = closed(6);
    let right = answer(&sim).unwrap();
    for kind in ["SUPER", "manifest", "log"] {
        let name = only(&sim, kind);
        let len = sim.peek(&name).unwrap().len();
        let mut found = 0;
        for at in 0..len {
            // Each bit of the manifest and of frames; one of each byte elsewhere.
            let bits = if kind == "SUPER" || at > 2500 { at % 8..at % 8 + 1 } else { 0..8 };
            for bit in bits {
                let image = spoil(&sim, &name, |bytes| bytes[at] ^= 1 << bit);
                found += found_or_harmless(&image, &right, &format!("{name} byte {at} bit {bit}"));
            }
        }
        println!("{name}: {found} refused");
        // One superblock may be lost; every byte of a frame, padding too, is checked.
        assert_eq!(found > 1000, kind != "SUPER");
    }
}

#[test]
fn every_cut_and_every_extension_is_found_or_changes_nothing() {
    let sim = closed(6);
    let right = answer(&sim).unwrap();
    for kind in ["SUPER", "manifest", "log"] {
        let name = only(&sim, kind);
        let len = sim.peek(&name).unwrap().len();
        for to in 0..len {
            let image = spoil(&sim, &name, |bytes| bytes.truncate(to));
            assert_eq!(found_or_harmless(&image, &right, &format!("{name} cut to {to}")), 1);
        }
        for more in [1, 64, 4096] {
            for value in [0, 0xff] {
                let image = spoil(&sim, &name, |bytes| bytes.resize(len + more, value));
                found_or_harmless(&image, &right, &format!("{name} and {more} bytes {value}"));
            }
        }
        sim.fork().plant(&name, None);
        let image = sim.fork();
        image.plant(&name, None);
        assert_eq!(answer(&image).unwrap_err().kind(), ErrorKind::Corrupt, "{name} lost");
    }
}

#[test]
fn blocks_that_are_swapped_zeroed_or_of_an_older_time_are_found() {
    let older = closed(3);
    let sim = closed(6);
    let right = answer(&sim).unwrap();
    let name = only(&sim, "log");
    let old = older.peek(&name).unwrap();
    for block in [64, 512] {
        for at in (0..2048 / block).map(|index| index * block) {
            let swap = |bytes: &mut Vec<u8>| {
                let (left, right) = bytes.split_at_mut(at + block);
                left[at..].swap_with_slice(&mut right[..block]);
            };
            found_or_harmless(&spoil(&sim, &name, swap), &right, &format!("swap at {at}"));
            let zero = |bytes: &mut Vec<u8>| bytes[at..at + block].fill(0);
            found_or_harmless(&spoil(&sim, &name, zero), &right, &format!("zeros at {at}"));
            let back = |bytes: &mut Vec<u8>| {
                bytes[at..at + block].copy_from_slice(&old[at..at + block]);
            };
            found_or_harmless(&spoil(&sim, &name, back), &right, &format!("older at {at}"));
        }
    }
    let first = SimFs::new();
    drop(create(&first));
    for (kind, older) in [("log", &older), ("manifest", &first)] {
        let name = only(&sim, kind);
        let image = sim.fork();
        image.plant(&name, Some(&older.peek(&name).unwrap()));
        assert_eq!(found_or_harmless(&image, &right, "an older file"), 1, "{name}");
    }
}

#[test]
fn files_of_another_store_are_refused() {
    let (sim, other) = (closed(2), SimFs::new());
    Journal::create(vfs(&other), Geometry::SMALL, 77, Bugs::NONE).unwrap();
    let name = only(&sim, "manifest");
    let image = sim.fork();
    image.plant(&name, Some(&other.peek(&name).unwrap()));
    assert_eq!(answer(&image).err().unwrap().kind(), ErrorKind::Corrupt);
    let image = other.fork();
    image.plant("SUPER", Some(&sim.peek("SUPER").unwrap()));
    assert_eq!(answer(&image).err().unwrap().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_damaged_frame_before_a_whole_one_is_no_torn_tail() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for index in 0..5u8 {
        write(&mut journal, &[index; 100]);
    }
    drop(journal);
    // Nothing is promised in the superblock: only the rule itself can tell.
    let name = only(&sim, "log");
    for frame in 0..4 {
        let image = spoil(&sim, &name, |bytes| bytes[frame * 192 + 50] ^= 1);
        let error = answer(&image).unwrap_err();
        assert!(error.to_string().contains("no torn tail"), "{error}");
    }
    let image = spoil(&sim, &name, |bytes| bytes[4 * 192 + 50] ^= 1);
    assert_eq!(answer(&image).unwrap().1.len(), 4, "the last one may have been in flight");
}

#[test]
fn a_log_that_another_follows_must_be_complete() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for index in 0..5u8 {
        write(&mut journal, &[index; 3000]);
    }
    let first = journal.state().logs[0];
    drop(journal);
    let name = format!("log-{:08x}", first.id);
    let image = spoil(&sim, &name, |bytes| bytes[3072 + 40] ^= 1);
    let error = answer(&image).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("the next log"));
}

#[test]
fn one_lost_superblock_changes_nothing_and_is_written_again() {
    let sim = closed(3);
    let right = answer(&sim).unwrap();
    for slot in 0..2 {
        let image = spoil(&sim, "SUPER", |bytes| bytes[slot * SLOT..][..SLOT].fill(0xee));
        assert_eq!(answer(&image).unwrap(), right);
        drop(reopen(&image));
        // Going on may move the log; what was written is the same.
        let asked = |answer: &Answer| (Asked::of(&answer.0), answer.1.clone());
        for other in 0..2 {
            let again = spoil(&image, "SUPER", |bytes| bytes[other * SLOT..][..SLOT].fill(0));
            assert_eq!(asked(&answer(&again).unwrap()), asked(&right));
        }
    }
    let both = spoil(&sim, "SUPER", |bytes| {
        bytes[100] ^= 1;
        bytes[SLOT..].fill(0);
    });
    let error = answer(&both).unwrap_err().to_string();
    assert!(error.contains("Slot 0: its checksum") && error.contains("Slot 1: it does not begin"));
    let foreign = spoil(&sim, "SUPER", |bytes| *bytes = b"hello".to_vec());
    assert_eq!(answer(&foreign).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_newer_format_and_unknown_features_are_refused_by_name() {
    let sim = closed(1);
    for (version, features) in [(FORMAT_VERSION + 1, FEATURES), (FORMAT_VERSION, 1 << 40)] {
        for slot in 0..2u64 {
            let newer = Superblock {
                store_id: STORE_ID,
                generation: 100 + slot,
                manifest: 9,
                manifest_seq: 1,
                log_seq: 0,
            };
            let image = spoil(&sim, "SUPER", |bytes| {
                let at = newer.offset() as usize;
                bytes[at..at + SLOT].copy_from_slice(&newer.encode_as(version, features));
            });
            let error = answer(&image).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NewerFormat);
            let text = error.to_string();
            assert!(text.contains(&format!("version {version} ")), "{text}");
            assert!(text.contains(&format!("up to version {FORMAT_VERSION}")), "{text}");
        }
    }
}

#[test]
fn a_store_that_lost_its_superblocks_is_not_taken_for_an_empty_directory() {
    let sim = closed(1);
    sim.plant("SUPER", None);
    let error = answer(&sim).unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.to_string().contains("SUPER is missing"));
    let refused = Journal::create(vfs(&sim), Geometry::SMALL, 1, Bugs::NONE).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    let segment = SimFs::new();
    segment.plant("segment-00000003", Some(b"x"));
    assert_eq!(answer(&segment).unwrap_err().kind(), ErrorKind::Corrupt);
    let empty = SimFs::new();
    empty.plant("notes.txt", Some(b"x"));
    assert_eq!(answer(&empty).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(FILE_LEN, 2 * SLOT);
}

#[test]
fn random_bytes_in_any_file_never_panic() {
    let sim = closed(3);
    let mut draw = Draw(99);
    for round in 0..600 {
        let name = only(&sim, ["SUPER", "manifest", "log"][round % 3]);
        let image = spoil(&sim, &name, |bytes| match draw.below(3) {
            0 => *bytes = draw.bytes(bytes.len()),
            1 => {
                for _ in 0..1 + draw.below(20) {
                    let at = draw.below(bytes.len() as u64) as usize;
                    bytes[at] = draw.next() as u8;
                }
            }
            _ => {
                let len = bytes.len() as u64;
                let (from, to) = (draw.below(len) as usize, draw.below(len) as usize);
                bytes.copy_within(
                    from..(from + 300).min(len as usize).max(from),
                    to.min(len as usize - 300),
                );
            }
        });
        let _ = answer(&image);
    }
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn a_wrong_tail_rule_loses_frames_that_the_right_one_reports() {
    let sim = closed(6);
    let image = spoil(&sim, &only(&sim, "log"), |bytes| bytes[40] ^= 1);
    assert_eq!(recovered(&image).err().unwrap().kind(), ErrorKind::Corrupt);
    let bug = Bugs::plant(crate::bugs::SeededBug::WrongTailRule);
    let found = recover(&vfs(&image), &Geometry::SMALL, bug).unwrap();
    assert_eq!(found.last_seq(), 0);
}
