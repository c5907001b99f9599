//! The launches of a step, the memory layout, and the translation of settings into a recipe.

use std::sync::Arc;

use model::engine::cuda::driver::{Address, DeviceError, Driver, Launch, Recording};
use model::engine::cuda::loss::{ClassLoss, MapLoss as MapPlaces, class_loss, map_loss};
use model::engine::cuda::memory_map::MemoryMap;
use model::engine::cuda::step::Board;
use model::engine::cuda::update::{Groups, State, update};
use model::engine::recipe::Step;
use model::plan::{Mode, Plan};
use model::store::{Group, ParamMap};
use train::loss::ClassObjective;
use train::map_loss::{MapLoss, MapObjective};
use train::{Task, TrainConfig, resident};

use crate::map_losses::{map_case, map_objective};
use crate::state::graph;

/// Records every launch with its arguments.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) launches: Vec<String>,
}

impl Driver for Recorder {
    fn name(&self) -> String {
        "a recorder".into()
    }

    fn available(&self) -> Result<u64, DeviceError> {
        Ok(u64::MAX)
    }

    fn allocate(&mut self, _: usize) -> Result<Address, DeviceError> {
        Ok(Address(256))
    }

    fn upload(&mut self, _: Address, _: &[f32]) -> Result<(), DeviceError> {
        Ok(())
    }

    fn download(&mut self, _: Address, data: &mut [f32]) -> Result<(), DeviceError> {
        data.fill(0.0);
        Ok(())
    }

    fn launch(&mut self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        launch.check()?;
        self.launches.push(format!("{launch:?}"));
        Ok(())
    }

    fn record(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn recorded(&mut self) -> Result<Recording, DeviceError> {
        Ok(Recording(0))
    }

    fn replay(&mut self, _: Recording) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// The recording of one step can replay any other: learning rate, labels and masks are not launch arguments.
#[test]
fn launches_do_not_depend_on_the_step_or_the_batch() {
    for loss in ["bce_dice", "cross_entropy_dice"] {
        let objective = MapObjective {
            deep_supervision: true,
            ..map_objective(loss)
        };
        let taught = map_case(objective, true, 1.0);
        let term = resident::map_term(&taught.config.map, 3, 2)
            .unwrap()
            .unwrap();
        let recipe = resident::recipe(&taught.config, &taught.objective, 3, 2).unwrap();
        let board = Board {
            controls: Address(1 << 20),
            results: Address(1 << 21),
        };
        let groups = Groups::new(&ParamMap::new(&graph(41, 113)));
        let at = |i: u64| Address(i << 24);
        let record = || {
            let mut driver = Recorder::default();
            let class = ClassLoss {
                logits: at(1),
                labels: at(2),
                partners: at(15),
                weights: None,
                gradient: at(3),
                n: 8,
                classes: 3,
            };
            class_loss(&mut driver, &recipe.class.unwrap(), board, &class).unwrap();
            for number in 0..2 {
                let map = MapPlaces {
                    map: at(4),
                    values: at(5),
                    weights: at(6),
                    gradient: at(7),
                    scratch: at(8),
                    pixels: 5000 >> (2 * number),
                    classes: 3,
                };
                map_loss(&mut driver, &term, board, number, &map).unwrap();
            }
            let state = State {
                weights: at(9),
                gradients: at(10),
                moments: [at(11), at(12)],
                average: at(13),
                halves: None,
                scratch: at(14),
            };
            update(&mut driver, &recipe, board, &groups, &state).unwrap();
            driver.launches
        };
        let launches = record();
        assert_eq!(launches.len(), 1 + 2 * 3 + 3, "{launches:#?}");
        assert_eq!(launches, record());
        // The controls do depend on them, but have the same length in every step.
        let controls = |number, lr, known: &[usize]| {
            recipe.controls(&Step {
                number,
                lr,
                ema_share: 0.1,
                known,
                mixed: (number == 7).then_some(0.4),
                encoder: None,
            })
        };
        let (one, other) = (controls(1, 0.1, &[]), controls(7, 0.01, &[5000, 1250]));
        assert_eq!(one.len(), other.len());
        assert_ne!(one, other);
        let shares = |c: &[f32]| [c[c.len() - 3], c[c.len() - 1]];
        assert_eq!((shares(&one), shares(&other)), ([0.0; 2], [0.5; 2]));
    }
}

/// The engine's memory layout places the groups contiguously, as the kernels expect.
#[test]
fn groups_have_the_same_layout_as_in_the_engine() {
    let graph = Arc::new(graph(3, 7));
    let map = Arc::new(ParamMap::new(&graph));
    let outputs = [graph.output("values").unwrap()];
    let plan = Plan::new(&graph, Mode::Train, 2, 1, 1, &outputs).unwrap();
    let memory = MemoryMap::new(&graph, &map, &plan, 0).unwrap();
    let groups = Groups::new(&map);
    for group in Group::ALL {
        let at = memory.params[group as usize] - memory.params[0];
        assert_eq!(at, groups.start(group));
    }
    assert_eq!(
        memory.grads[1] - memory.grads[0],
        groups.start(Group::Plain)
    );
    assert_eq!(
        groups.all(),
        groups.start(Group::Buffers) + groups.len(Group::Buffers)
    );
    assert!(!groups.is_empty(Group::Buffers));
}

/// Settings are translated into the matching recipe.
#[test]
fn a_map_loss_without_a_class_loss_is_the_whole_loss() {
    let objective = map_objective("dice");
    let recipe = |task, weight| {
        let config = TrainConfig {
            task,
            map: MapObjective {
                weight,
                ..objective.clone()
            },
            ..TrainConfig::default()
        };
        resident::recipe(&config, &ClassObjective::default(), 2, 3).unwrap()
    };
    let alone = recipe(Some(Task::Segment), 0.5);
    assert!(alone.class.is_none());
    assert_eq!(alone.map.unwrap().weight, 1.0);
    let both = recipe(None, 0.5);
    assert!(both.class.is_some());
    assert_eq!((both.map.unwrap().weight, both.maps()), (0.5, 1));
    let off = resident::recipe(&TrainConfig::default(), &ClassObjective::default(), 2, 3).unwrap();
    assert_eq!((off.map, off.maps(), off.averages), (None, 0, false));
    let missing = MapObjective {
        class: Some(2),
        ..map_objective("dice")
    };
    assert!(resident::map_term(&missing, 2, 1).is_err());
    assert_eq!(objective.loss, MapLoss::Dice);
}
