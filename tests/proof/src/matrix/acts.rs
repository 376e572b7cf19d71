//! Which calls there are, and the cells that follow from them.

use super::{
    cell::{Outcome, Plot, Run},
    fault::Fault,
    mode::Mode,
    scenario::Scenario,
    script::Target,
    setting::{Scene, Setting},
    spot::{Deed, Side, Spot},
};

/// A scenario in a setting, with its calls.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) scene: Scene,
    pub(super) calls: Vec<Known>,
}

/// A call that a calm run made.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) spot: Spot,
    /// In how many calm runs it came. Some calls come by chance: where two passes meet, one of them
    /// is repeated.
    pub(super) runs: usize,
}

/// The scenes in which there may be cells with that word in their line, which begins with the
/// scene: all, where the word is one of a call or a fault.
pub(super) fn scenes(only: Option<&str>) -> Vec<Scene> {
    let all: Vec<Scene> = Scene::all().collect();
    let Some(word) = only else {
        return all;
    };
    let head = |scene: &Scene| format!("{scene}: ");
    let is_in = |scene: &&Scene| head(scene).contains(word) || word.starts_with(&head(scene));
    let some: Vec<Scene> = all.iter().filter(is_in).copied().collect();
    if some.is_empty() { all } else { some }
}

/// The cells with that word in their line.
pub(super) fn select(mut cells: Vec<Plot>, only: Option<&str>) -> Result<Vec<Plot>, String> {
    let example = cells.first().map(Plot::to_string).unwrap_or_default();
    if let Some(word) = only {
        cells.retain(|plot| plot.to_string().contains(word));
    }
    match only {
        Some(word) if cells.is_empty() => Err(format!(
            "--only: no cell has {word:?} in its line; one of the lines is {example:?}"
        )),
        Some(_) | None => Ok(cells),
    }
}

/// Those scenes, `times` each, with nothing going wrong.
pub(super) fn calm(scenes: &[Scene], times: usize) -> Vec<Plot> {
    let plots = scenes.iter().map(|&scene| Plot {
        scene,
        target: None,
        must_come: true,
    });
    plots
        .flat_map(|plot| std::iter::repeat_n(plot, times))
        .collect()
}

/// A cell that must fail, or the matrix would prove nothing: a create that the network sends twice,
/// at a vendor that offers nothing against it, makes two tenants.
pub(super) fn control() -> Plot {
    let deed = Deed {
        side: Side::Vendor,
        what: "POST /tenant".to_owned(),
    };
    Plot {
        scene: Scene {
            setting: Setting::canonical(Mode::None),
            scenario: Scenario::Create,
        },
        target: Some(Target {
            spot: Spot { deed, nth: 1 },
            fault: Fault::Duplicate,
        }),
        must_come: true,
    }
}

/// The calls of calm runs, in the order of the first that made them.
pub(super) fn learn(runs: &[(Plot, Run)]) -> Vec<Act> {
    let mut acts: Vec<Act> = Vec::new();
    for (plot, run) in runs {
        let of = |act: &Act| act.scene == plot.scene;
        if !acts.iter().any(of) {
            acts.push(Act {
                scene: plot.scene,
                calls: Vec::new(),
            });
        }
        let Some(act) = acts.iter_mut().find(|act| of(act)) else {
            continue;
        };
        for spot in &run.calls {
            match act.calls.iter_mut().find(|known| known.spot == *spot) {
                Some(known) => known.runs += 1,
                None => act.calls.push(Known {
                    spot: spot.clone(),
                    runs: 1,
                }),
            }
        }
    }
    acts
}

/// A cell for each call and fault. One whose call came in every one of so many calm runs must come
/// again.
pub(super) fn cells(acts: &[Act], times: usize) -> Vec<Plot> {
    let mut plots = Vec::new();
    for act in acts {
        for known in &act.calls {
            let mode = act.scene.setting.mode;
            let faults = Fault::ALL.iter();
            let faults = faults.filter(|fault| fault.left_out(mode, &known.spot).is_none());
            plots.extend(faults.map(|fault| Plot {
                scene: act.scene,
                target: Some(Target {
                    spot: known.spot.clone(),
                    fault: *fault,
                }),
                must_come: times > 1
                    && known.runs == times
                    && !known.spot.comes_by_chance()
                    && !act.scene.scenario.sweeps(),
            }));
        }
    }
    plots
}

/// The calls that came in more than one calm run and then in none of their cells, each in a line: what
/// is to be shown of them was not. What came once could be a chance that does not come again, and so could
/// the second of a call that others make too.
pub(super) fn never_met(acts: &[Act], results: &[(Plot, Outcome)]) -> Vec<String> {
    let mut lines = Vec::new();
    for act in acts {
        let mode = act.scene.setting.mode;
        let expected = |known: &&Known| {
            known.runs > 1 && !(known.spot.nth > 1 && known.spot.comes_by_chance())
        };
        for known in act.calls.iter().filter(expected) {
            let of = |plot: &Plot| {
                let target = plot.target.as_ref();
                plot.scene == act.scene && target.is_some_and(|target| target.spot == known.spot)
            };
            let absent =
                |(plot, outcome): &&(Plot, Outcome)| of(plot) && *outcome == Outcome::Absent;
            let left_out = |fault: &&Fault| fault.left_out(mode, &known.spot).is_none();
            let all = Fault::ALL.iter().filter(left_out).count();
            if results.iter().filter(absent).count() == all {
                lines.push(format!(
                    "{}: {}: it came in {} calm runs, and in no cell",
                    act.scene, known.spot, known.runs
                ));
            }
        }
    }
    lines
}

/// About so many of the cells, the same each time, over all scenarios, calls and faults.
pub(super) fn spread(all: &[Plot], about: usize) -> Vec<Plot> {
    let step = (all.len() / about).max(1);
    // Not in step with the faults, or some would never be met.
    let step = (step..).find(|step| step % 2 == 1 && step % 5 != 0);
    all.iter().step_by(step.unwrap_or(1)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::{super::SAMPLE, *};

    fn spot(what: &str) -> Spot {
        let deed = Deed {
            side: Side::Vendor,
            what: what.to_owned(),
        };
        Spot { deed, nth: 1 }
    }

    #[test]
    fn cells_are_of_all_calls_and_faults_and_the_spread_is_over_all_faults() {
        let run = |calls: &[&str]| Run {
            outcome: Outcome::Ok,
            calls: calls.iter().map(|what| spot(what)).collect(),
        };
        let scenes: Vec<Scene> = Scene::all().collect();
        let plots = calm(&scenes, 2);
        let runs: Vec<(Plot, Run)> = plots
            .into_iter()
            .enumerate()
            .map(|(n, plot)| match n % 2 {
                0 => (plot, run(&["POST /tenant", "GET /tenant/{id}"])),
                _ => (plot, run(&["POST /tenant"])),
            })
            .collect();
        let acts = learn(&runs);
        assert_eq!(acts.len(), scenes.len());
        assert!(acts.iter().all(|act| act.calls.len() == 2));
        let all = cells(&acts, 2);
        // One is left out for each scene where nobody can be asked for a twin: the create sent twice.
        let doubles = |scene: &&Scene| scene.setting.mode == Mode::None;
        let left_out = scenes.iter().filter(doubles).count();
        assert_eq!(all.len(), acts.len() * 2 * Fault::ALL.len() - left_out);
        // One of the two calls in each; where sweeps come by the clock, both.
        let by_chance = |plot: &&Plot| !plot.must_come && !plot.scene.scenario.sweeps();
        let sweeping = |act: &&Act| act.scene.scenario.sweeps();
        let others = acts.len() - acts.iter().filter(sweeping).count();
        assert_eq!(
            all.iter().filter(by_chance).count(),
            others * Fault::ALL.len()
        );
        let sample = spread(&all, SAMPLE);
        for fault in Fault::ALL {
            let is = |plot: &Plot| plot.target.as_ref().is_some_and(|t| t.fault == fault);
            assert!(sample.iter().any(is), "{fault:?}");
        }
    }

    #[test]
    fn a_call_that_came_in_calm_runs_and_in_no_cell_is_told() {
        let scene = control().scene;
        let known = |what: &str, runs: usize| Known {
            spot: spot(what),
            runs,
        };
        let calls = vec![known("GET /a", 2), known("GET /b", 2), known("GET /c", 1)];
        let acts = [Act { scene, calls }];
        let mut results: Vec<(Plot, Outcome)> = cells(&acts, 2)
            .into_iter()
            .map(|plot| (plot, Outcome::Absent))
            .collect();
        // The last of the ten cells of `b` met its call.
        results[19].1 = Outcome::Ok;
        let said = "None, create: vendor GET /a #1: it came in 2 calm runs, and in no cell";
        assert_eq!(never_met(&acts, &results), [said]);
        // Nothing is said where not all were run.
        results.remove(0);
        assert_eq!(never_met(&acts, &results), [""; 0]);
    }

    #[test]
    fn a_word_selects_scenes_calls_and_faults() {
        let one = |word: &str| scenes(Some(word)).iter().map(Scene::to_string).collect();
        let some: Vec<String> = one("in bare");
        let bare = ["create", "delete", "failover"].map(|name| format!("None in bare, {name}"));
        assert_eq!(some, bare);
        let some: Vec<String> = one("Lookup, create: vendor POST /tenant #1: late");
        assert_eq!(some, ["Lookup, create"]);
        assert_eq!(scenes(Some("junk")), scenes(None));

        let plots = vec![control()];
        let line = "None, create: vendor POST /tenant #1: twice";
        assert_eq!(plots.first().map(Plot::to_string).as_deref(), Some(line));
        let found = |word| select(plots.clone(), Some(word)).map(|plots| plots.len());
        assert_eq!(found("POST /tenant #1: tw"), Ok(1));
        let why =
            format!("--only: no cell has \"twic \" in its line; one of the lines is {line:?}");
        assert_eq!(found("twic "), Err(why));
    }
}
