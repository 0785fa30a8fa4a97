//! `eval`: frozen embeddings judged by probes.

mod embeddings;
mod shown;

use ajepa_model::EncoderChoice;
use ajepa_model::checkpoint::Checkpoint;

use super::run::run_quietly;
use super::{fail, print, write_text};
use crate::cli::args::{EvalArgs, EvalMode, ModelArg, ProbeName, ReportFormat, ScoresFormat};
use crate::cli::eval_html;
use crate::cli::exit::Exit;
use crate::cli::format::counted;
use crate::cli::progress::ProgressMode;
use crate::embed::digest;
use crate::eval::{
    Embeddings, Encoded, Encoding, EncodingError, Evaluation, Form, Kind, Mode, Model, PUBLISHED, Probe, Row, Settings,
    Task, probe, read,
};
use crate::job::JobOptions;
use crate::stage::BuildError;
use crate::stages::Registry;

/// Judges every model on every task; exits as `run` does.
pub fn eval(args: &EvalArgs, registry: &Registry) -> Exit {
    match judge(args, registry) {
        Ok(evaluation) => tell(args, &evaluation),
        Err(exit) => exit,
    }
}

fn judge(args: &EvalArgs, registry: &Registry) -> Result<Evaluation, Exit> {
    if args.together.is_some() && args.mode == EvalMode::Clean {
        let help = "it is what --mode xares does: in --mode clean every clip has its true length";
        return Err(usage(&BuildError::new("--together has nothing to say in --mode clean", help)));
    }
    if args.tasks.is_empty() && !args.checkpoints.is_empty() {
        let help = "name folders of tars, such as env/ or env/esc50, or tables of clips with labels and splits";
        return Err(usage(&BuildError::new("there is no task", help)));
    }
    names_once(args)?;
    let mut tasks: Vec<Task> = Vec::new();
    for path in &args.tasks {
        tasks.extend(Task::open(path).map_err(|error| usage(&error))?);
    }
    if let Some(twice) =
        tasks.iter().enumerate().find(|(at, task)| tasks[..*at].iter().any(|other| other.name == task.name))
    {
        let problem = format!("two tasks are named {}", twice.1.name);
        return Err(usage(&BuildError::new(problem, "name each once; a table's name is that of its file")));
    }
    let settings = settings(args);
    let elsewhere: Vec<embeddings::Files<'_>> =
        args.embeddings.iter().map(|model| embeddings::Files::of(model, &tasks)).collect::<Result<_, _>>()?;
    let opened: Vec<Checkpoint> =
        args.checkpoints.iter().map(|model| super::checkpoint::open(&model.path)).collect::<Result<_, _>>()?;
    let mut models = Vec::new();
    for (model, checkpoint) in args.checkpoints.iter().zip(&opened) {
        models.push(of_checkpoint(model, checkpoint, &tasks, args, &settings, registry)?);
    }
    for files in &elsewhere {
        models.push(files.judge(&settings, args.progress)?);
    }
    let published = if settings.mode == Mode::Xares { PUBLISHED.to_vec() } else { Vec::new() };
    Ok(Evaluation { program: env!("CARGO_PKG_VERSION").to_owned(), mode: settings.mode, models, published })
}

/// Two models of one name could not be told apart in what is written of them.
fn names_once(args: &EvalArgs) -> Result<(), Exit> {
    let models: Vec<&ModelArg> = args.checkpoints.iter().chain(&args.embeddings).collect();
    for (at, model) in models.iter().enumerate() {
        if let Some(other) = models[..at].iter().find(|other| other.shown() == model.shown()) {
            let [one, other] = [other, model].map(|model| model.path.display());
            let problem = format!("two models are named {}: {one} and {other}", model.shown());
            return Err(usage(&BuildError::new(problem, "write NAME=PATH, each with a name of its own")));
        }
    }
    Ok(())
}

fn settings(args: &EvalArgs) -> Settings {
    let mode = if args.mode == EvalMode::Xares { Mode::Xares } else { Mode::Clean };
    let usual = [ProbeName::Knn, ProbeName::Mlp];
    let asked = if args.probes.is_empty() { &usual[..] } else { &args.probes };
    let probes = Probe::ALL.into_iter().filter(|probe| asked.iter().any(|name| Probe::from(*name) == *probe));
    Settings { mode, probes: probes.collect(), seeds: args.seeds.get() as u64, seed: args.seed }
}

impl From<ProbeName> for Probe {
    fn from(name: ProbeName) -> Self {
        match name {
            ProbeName::Knn => Self::Knn,
            ProbeName::Mlp => Self::Mlp,
            ProbeName::Attentive => Self::Attentive,
            ProbeName::Layers => Self::Layers,
        }
    }
}

fn of_checkpoint(
    model: &ModelArg,
    checkpoint: &Checkpoint,
    tasks: &[Task],
    args: &EvalArgs,
    settings: &Settings,
    registry: &Registry,
) -> Result<Model, Exit> {
    let encoding = Encoding {
        checkpoint,
        encoder: args.encoder.map_or_else(|| EncoderChoice::usual(checkpoint), EncoderChoice::from),
        device: args.device,
        mode: settings.mode,
        together: args.together.map(std::num::NonZero::get),
        cache: &args.cache,
    };
    let mut rows = Vec::new();
    for task in tasks {
        if let Some(Kind::NotRun(why)) = task.protocol.kind {
            rows.push(Row::not_run(&task.name, why));
            continue;
        }
        let mut notes = task.notes.clone();
        let mut in_form = |form: Form| encoded(task, &encoding, form, args, registry, &mut notes);
        let mut embeddings =
            Embeddings { usual: in_form(Form::Usual)?, events: Some(task.events()), ..Embeddings::default() };
        let pools = |probe| !task.protocol.asks_frames() && settings.probes.contains(&probe);
        if pools(Probe::Attentive) {
            embeddings.frames = of_the_same(&embeddings.usual, in_form(Form::Frames)?);
        }
        if pools(Probe::Layers) {
            embeddings.layers = of_the_same(&embeddings.usual, in_form(Form::Layers)?);
        }
        rows.push(row(&model.shown(), task, &embeddings, &notes, settings, args.progress)?);
    }
    Ok(Model::new(model.shown(), Some(digest(checkpoint.card())), rows))
}

/// Without clips that were refused as a whole: of one that is torn in the middle there are frames.
fn of_the_same(usual: &[Encoded], mut splits: Vec<Encoded>) -> Vec<Encoded> {
    for (split, usual) in splits.iter_mut().zip(usual) {
        split.vectors.retain(&usual.vectors.ids.iter().map(String::as_str).collect());
    }
    splits
}

/// The embeddings of a task's splits: those that are kept, and those that are made now.
fn encoded(
    task: &Task,
    encoding: &Encoding<'_>,
    form: Form,
    args: &EvalArgs,
    registry: &Registry,
    notes: &mut Vec<String>,
) -> Result<Vec<Encoded>, Exit> {
    let mut splits = Vec::with_capacity(task.splits.len());
    for split in &task.splits {
        let file = encoding.file(task, split, form);
        if let Some(graph) = encoding.graph(task, split, form, registry).map_err(|error| fault(&error))? {
            let n_clips = split.clips.num_rows() as u64;
            let what = form.words();
            say(args.progress, &format!("{}: {what}{} of {}", task.name, counted(n_clips, "clip"), split.name));
            let options = JobOptions { jobs: args.jobs.map(std::num::NonZero::get), ..JobOptions::default() };
            run_quietly(&graph, options, args.progress)?;
        }
        let vectors = read(&file).map_err(|error| usage(&error))?;
        let rejects = crate::stages::sink_embeddings::read_about(&file).ok().flatten().map_or(0, |about| about.rejects);
        if rejects > 0 && form == Form::Usual {
            let list = file.with_extension("rejects.parquet");
            notes.push(format!("{} of {} could not be used: {}", counted(rejects, "clip"), split.name, list.display()));
        }
        splits.push(Encoded { name: split.name.clone(), role: split.role, vectors });
    }
    Ok(splits)
}

/// Asks the probes about a task.
fn row(
    model: &str,
    task: &Task,
    embeddings: &Embeddings,
    notes: &[String],
    settings: &Settings,
    progress: ProgressMode,
) -> Result<Row, Exit> {
    let found = probe(&task.protocol, embeddings, settings);
    let found = found.map_err(|error| fail(format!("{model}, {}: {error}", task.name)))?;
    let row = Row::new(&task.name, task.protocol.weight, found, notes);
    say(progress, &format!("{model}, {}", shown::line(&row)));
    Ok(row)
}

fn say(progress: ProgressMode, words: &str) {
    if progress != ProgressMode::Off {
        eprintln!("{words}");
    }
}

fn fault(error: &EncodingError) -> Exit {
    match error {
        EncodingError::File(error) => usage(error),
        EncodingError::Replay(error) => {
            eprintln!("error: {error}");
            Exit::Usage
        }
    }
}

fn usage(error: &BuildError) -> Exit {
    eprintln!("error: {}\n  help: {}", error.problem, error.help);
    Exit::Usage
}

fn tell(args: &EvalArgs, evaluation: &Evaluation) -> Exit {
    for file in &args.reports {
        let text = match file.format {
            ReportFormat::Json => shown::json(evaluation),
            ReportFormat::Html => eval_html::render(evaluation),
        };
        if let Err(error) = write_text(&file.path, &text) {
            return fail(format!("cannot write the report {}: {error}", file.path.display()));
        }
    }
    print(&match args.format {
        ScoresFormat::Table => shown::table(evaluation),
        ScoresFormat::Json => shown::json(evaluation),
        ScoresFormat::Csv => shown::csv(evaluation),
    })
}
