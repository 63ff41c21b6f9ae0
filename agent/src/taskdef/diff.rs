//! Two texts, line by line, as `diff -u` shows them.
//!
//! Promises: what is shown, applied to the first, gives the second; time and memory are bounded: of texts that differ in
//! thousands of lines all are shown as changed.
//! Never: colours anything.

use std::fmt::Write;

/// Lines around a change.
const CONTEXT: usize = 3;
/// Cells of the table of common lines: 4 bytes each.
const CELLS_MAX: usize = 16 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Same,
    Old,
    New,
}

/// The differences; empty if there are none.
pub fn unified(old: &str, new: &str, name: &str) -> String {
    if old == new {
        return String::new();
    }
    let lines = |text: &'_ str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(old), lines(new));
    let mut out = format!("--- {name}\n+++ {name}\n");
    for hunk in hunks(&steps(&old, &new)) {
        let count = |other: Step| hunk.steps.iter().filter(|&&step| step != other).count();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "@@ -{},{} +{},{} @@", hunk.old + 1, count(Step::New), hunk.new + 1, count(Step::Old));
        let (mut at_old, mut at_new) = (hunk.old, hunk.new);
        for step in hunk.steps {
            let (sign, line) = match step {
                Step::Same => (' ', &old[at_old]),
                Step::Old => ('-', &old[at_old]),
                Step::New => ('+', &new[at_new]),
            };
            at_old += usize::from(*step != Step::New);
            at_new += usize::from(*step != Step::Old);
            out.push(sign);
            out.push_str(line);
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    out
}

struct Hunk<'a> {
    old: usize,
    new: usize,
    steps: &'a [Step],
}

/// Changes with the lines around them; those that are near each other together.
fn hunks(steps: &[Step]) -> Vec<Hunk<'_>> {
    let mut hunks: Vec<Hunk<'_>> = Vec::new();
    let changes: Vec<usize> = (0..steps.len()).filter(|&at| steps[at] != Step::Same).collect();
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for at in changes {
        let (start, end) = (at.saturating_sub(CONTEXT), (at + 1 + CONTEXT).min(steps.len()));
        match ranges.last_mut() {
            Some(last) if start <= last.1 => last.1 = end,
            Some(_) | None => ranges.push((start, end)),
        }
    }
    for (start, end) in ranges {
        let passed = |other: Step| steps[..start].iter().filter(|&&step| step != other).count();
        hunks.push(Hunk { old: passed(Step::New), new: passed(Step::Old), steps: &steps[start..end] });
    }
    hunks
}

/// The way from one to the other, by a longest common subsequence of what differs.
fn steps(old: &[String], new: &[String]) -> Vec<Step> {
    let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let room = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(room).take_while(|(one, other)| one == other).count();
    let (from, to) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut steps = vec![Step::Same; head];
    if from.len().saturating_mul(to.len()) > CELLS_MAX {
        steps.extend(from.iter().map(|_| Step::Old));
        steps.extend(to.iter().map(|_| Step::New));
    } else {
        middle(from, to, &mut steps);
    }
    steps.extend(std::iter::repeat_n(Step::Same, tail));
    steps
}

fn middle(from: &[String], to: &[String], steps: &mut Vec<Step>) {
    let width = to.len() + 1;
    // common[i * width + j]: lines that from[i..] and to[j..] have in common.
    let mut common = vec![0_u32; (from.len() + 1) * width];
    for i in (0..from.len()).rev() {
        for j in (0..to.len()).rev() {
            common[i * width + j] = match from[i] == to[j] {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let step = if i < from.len() && j < to.len() && from[i] == to[j] {
            Step::Same
        } else if i < from.len() && (j == to.len() || common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            Step::Old
        } else {
            Step::New
        };
        i += usize::from(step != Step::New);
        j += usize::from(step != Step::Old);
        steps.push(step);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_reads_like_diff() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n";
        let new = "a\nb\nc\nD\ne\nf\ng\nh\ni\nj\nk\nl";
        insta::assert_snapshot!(unified(old, new, "t.json"), @r"
        --- t.json
        +++ t.json
        @@ -1,7 +1,7 @@
         a
         b
         c
        -d
        +D
         e
         f
         g
        @@ -9,3 +9,4 @@
         i
         j
         k
        +l
        \ No newline at end of file
        ");
        assert_eq!(unified(old, old, "t.json"), "");
    }

    /// The lines that are said to be the same or gone are the old text, those that are the same or new the new one.
    fn sides(old: &str, new: &str) -> (String, String) {
        let lines = |text: &str| text.split_inclusive('\n').map(str::to_owned).collect::<Vec<_>>();
        let (from, to) = (lines(old), lines(new));
        let (mut i, mut j, mut one, mut other) = (0, 0, String::new(), String::new());
        for step in steps(&from, &to) {
            if step != Step::New {
                one.push_str(&from[i]);
                i += 1;
            }
            if step != Step::Old {
                other.push_str(&to[j]);
                j += 1;
            }
            assert!(step != Step::Same || from[i - 1] == to[j - 1]);
        }
        (one, other)
    }

    proptest! {
        #[test]
        fn property_both_texts_stand_in_the_difference(old in "([ab]\n){0,12}[ab]?", new in "([abc]\n){0,12}[ab]?") {
            prop_assert_eq!(sides(&old, &new), (old.clone(), new.clone()));
        }
    }
}
