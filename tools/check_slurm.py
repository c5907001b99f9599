#!/usr/bin/env python3
"""Checks deploy/slurm on a cluster of one node: what is killed and requeued gives the files of a single process.

    apt-get install slurm-wlm munge          # nothing needs to run or to be configured
    tools/install_mpich.sh target/mpich      # for training
    python3 tools/check_slurm.py --program target/release/eff-unet [--images 640] [--shards 8]

Starts munged, slurmctld and slurmd with a configuration of their own in a temporary folder, trains the smallest network
on phantoms, draws phantom radiographs and predicts them: once in a single process, then as an array with its merge. Fails
unless the tables and pictures of both are the same to the byte, also where

* a task is ended with kill -9 and its share submitted again,
* a task is requeued (scontrol requeue) in the middle of its share,
* the merge comes too early: it must fail, name the share, and write nothing,
* the tasks are numbered from 0 in steps of 2, with --shard auto.

Then trains on two tasks, by mpiexec and by srun, and fails unless model, metrics and predictions are the same to the byte
as those of a process without MPI, also where the job is requeued in the middle of a training by mpiexec. (By srun, MPICH
would meet the shared memory of the killed processes, which has the same name.)

Prints what it did and how long it took.
"""

import argparse
import filecmp
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLES = ["predictions.csv", "predictions.jsonl", "predictions.parquet"]
TINY = ["demo.phantom.train=[24,24]", "demo.phantom.size=224",
        "demo.data.validation.fraction=0.3", "image.size=64", "train.epochs=1", "train.batch_size=8",
        "evaluate.bootstrap=50", "overlays.examples=2"]
faults = []


def check(right, words):
    print(f"  {'ok' if right else 'WRONG'}: {words}", flush=True)
    if not right:
        faults.append(words)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(what, found, seconds=120, every=0.2):
    """The first true value of `found`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(every)
    sys.exit(f"waited {seconds} s in vain: {what}")


class Cluster:
    """munged, slurmctld and slurmd of this user, with all their files in a folder."""

    def __init__(self, folder, cpus):
        self.folder, self.daemons = folder, []
        self.environment = dict(os.environ, SLURM_CONF=str(folder / "slurm.conf"))
        for name in ("state", "spool", "munge"):
            (folder / name).mkdir(mode=0o700)
        key = folder / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host, user = socket.gethostname().split(".")[0], subprocess.getoutput("id -un")
        (folder / "slurm.conf").write_text(f"""
ClusterName=check
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
BatchStartTimeout=10
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=65536 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")
        # Nothing of control groups is used; this keeps slurmd from looking for them.
        (folder / "cgroup.conf").write_text("CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n")

    def __enter__(self):
        munge = self.folder / "munge"
        self.start("munged", "--foreground", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
                   f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        wait("munged", lambda: (munge / "socket").exists())
        self.start("slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
        self.start("slurmd", "-D", "-f", self.environment["SLURM_CONF"])
        idle = lambda: "idle" in self.call("sinfo", "-h", "-o", "%T", right=False)
        wait(f"an idle node (see {self.folder}/*.log)", idle, seconds=60)
        return self

    def __exit__(self, *_):
        self.call("scancel", "--user", subprocess.getoutput("id -un"), right=False)
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()

    def start(self, *command):
        log = open(self.folder / f"{command[0]}.out", "w")
        self.daemons.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def call(self, *command, right=True, **more):
        environment = dict(self.environment, **more)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=self.folder)
        if right and done.returncode:
            sys.exit(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout

    def states(self, job):
        """(task or "", state, exit code, restarts) of a job or of the tasks of an array."""
        shown = self.call("scontrol", "show", "job", "-o", str(job), right=False)
        field = lambda line, name: (re.search(rf"\b{name}=(\S+)", line) or [None, ""])[1]
        return [tuple(field(line, name) for name in ("ArrayTaskId", "JobState", "ExitCode", "Restarts"))
                for line in shown.splitlines() if line]

    def ended(self, job, seconds=600):
        """Waits for the end; the number of tasks in each state."""
        open_states = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED")
        wait(f"the end of job {job}", lambda: all(s[1] not in open_states for s in self.states(job)), seconds)
        counts = {}
        for state in self.states(job):
            counts[state[1]] = counts.get(state[1], 0) + 1
        return counts


class Prediction:
    """Predictions of the images into one folder."""

    def __init__(self, cluster, program, run, images, arguments):
        self.cluster, self.program, self.run, self.images = cluster, program, run, images
        self.shards, self.count = arguments.shards, arguments.images
        self.options = ["--allow-phantom-model", "--batch-size", "2"]

    def alone(self, out):
        command = [self.program, "predict", self.run, self.images, "--out", out, *self.options]
        subprocess.run(command, check=True, capture_output=True)

    def submit(self, out, array=None):
        """The numbers of the array and of the merge."""
        more = {"EFF_UNET": str(self.program)} | ({"ARRAY": array} if array else {})
        submitted = self.cluster.call(str(ROOT / "deploy/slurm/submit.sh"), str(self.shards), str(out), str(self.run),
                                      str(self.images), *self.options, **more)
        return re.findall(r"\d+", submitted)

    def lines(self, out, shard):
        part = out / f"parts/{shard}-of-{self.shards}.jsonl"
        return part.read_bytes().count(b"\n") if part.exists() else 0

    def in_the_middle(self, out):
        """A share that a process is predicting, and the process: some rows are there, and not all."""
        for shard in range(1, self.shards + 1):
            if 0 < self.lines(out, shard) < self.count // self.shards // 2:
                for process in self.processes(out, shard):
                    return shard, process
        return None

    def processes(self, out, shard):
        """The processes of this program that predict a share into the folder, by what they say of themselves."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().split(b"\0")
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            task = f"SLURM_ARRAY_TASK_ID={shard}".encode()
            if line[0] == str(self.program).encode() and str(out).encode() in line and task in environment:
                yield int(folder.name)


def same(one, other):
    """Whether tables and pictures of both folders are the same bytes."""
    pictures = lambda folder: sorted(p.relative_to(folder) for p in (folder / "images").rglob("*") if p.is_file())
    names = [Path(name) for name in TABLES] + pictures(one)
    there = all((folder / name).is_file() for folder in (one, other) for name in names)
    return there and pictures(one) == pictures(other) and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names)


def log_of(cluster, job):
    return "".join(p.read_text() for p in sorted(cluster.folder.glob(f"slurm-{job}*.out")))


def undisturbed(p, one, folder):
    print("an array, undisturbed", flush=True)
    start = time.monotonic()
    array, merge = p.submit(folder / "array")
    states = p.cluster.ended(array)
    check(states == {"COMPLETED": p.shards}, f"tasks {states} after {time.monotonic() - start:.1f} s")
    check(p.cluster.ended(merge) == {"COMPLETED": 1}, "the merge is complete")
    check(same(one, folder / "array"), "tables and pictures are those of one process")


def killed(p, one, folder):
    print("kill -9 in the middle of a share, a merge that is too early, the share again", flush=True)
    out = folder / "killed"
    array, merge = p.submit(out)
    shard, process = wait("a share in the middle", lambda: p.in_the_middle(out), every=0.005)
    os.kill(process, signal.SIGKILL)
    states = p.cluster.ended(array)
    check(states == {"FAILED": 1, "COMPLETED": p.shards - 1}, f"tasks {states}")
    kept = p.lines(out, shard)
    check(p.cluster.ended(merge) == {"FAILED": 1}, f"the merge without share {shard} (of which {kept} rows are there) fails")
    said = log_of(p.cluster, merge)
    check(f"shard {shard}/{p.shards}: " in said and f"again: {shard}\n" in said, f"it says {said.splitlines()[1].strip()!r}")
    check(not any((out / name).exists() for name in TABLES), "it has written nothing")
    array, merge = p.submit(out, array=str(shard))
    check(p.cluster.ended(array) == {"COMPLETED": 1}, f"share {shard} again, alone")
    check(f"{kept - kept % 2} of" in log_of(p.cluster, array), "it went on after the last complete batch")
    check(p.cluster.ended(merge) == {"COMPLETED": 1} and same(one, out), "tables and pictures are those of one process")


def requeued(p, one, folder):
    print("scontrol requeue in the middle of a share", flush=True)
    out = folder / "requeued"
    array, merge = p.submit(out)
    shard, _ = wait("a share in the middle", lambda: p.in_the_middle(out), every=0.005)
    p.cluster.call("scontrol", "requeue", f"{array}_{shard}")
    states = p.cluster.ended(array)
    restarts = sum(int(s[3] or 0) for s in p.cluster.states(array))
    check(states == {"COMPLETED": p.shards} and restarts == 1, f"tasks {states}, restarts {restarts}")
    check("had been predicted before" in log_of(p.cluster, f"{array}_{shard}"), f"share {shard} was continued")
    check(p.cluster.ended(merge) == {"COMPLETED": 1} and same(one, out), "tables and pictures are those of one process")


def stepped(p, one, folder):
    print("tasks 0, 2, 4 … with --shard auto", flush=True)
    out, script = folder / "stepped", folder / "stepped.sbatch"
    line = [p.program, "predict", p.run, p.images, "--out", out, "--shard", "auto", *p.options]
    script.write_text("#!/bin/sh\nenv | grep ARRAY_TASK\nexec " + " ".join(map(str, line)) + "\n")
    array = p.cluster.call("sbatch", "--parsable", f"--array=0-{2 * p.shards - 2}:2", str(script)).strip()
    states = p.cluster.ended(array)
    check(states == {"COMPLETED": p.shards} and same(one, out), f"tasks {states}, tables of one process")
    array = p.cluster.call("sbatch", "--parsable", "--array=1,3,7", str(script)).strip()
    check(p.cluster.ended(array) == {"FAILED": 3}, "a list of tasks is refused")
    said = log_of(p.cluster, array)
    check("SLURM_ARRAY_TASK_COUNT=3;" in said, f"it says {[l for l in said.splitlines() if 'error' in l][:1]}")


class Training:
    """Runs of a small network on two tasks."""

    FILES = ["model.safetensors", "metrics.json", "predictions.csv"]

    def __init__(self, cluster, program, mpich):
        self.cluster, self.program, self.mpich = cluster, program, mpich
        settings = [*TINY, "train.epochs=6", "train.chunks=2", "train.early_stopping.enabled=false",
                    "demo.phantom.train=[40,40]", "demo.phantom.test=[12,12]", "demo.phantom.size=64",
                    "pipeline.stages=['index','train','evaluate']"]
        self.options = ["pneumonia", "--demo", *(part for setting in settings for part in ("--set", setting))]

    def alone(self, out):
        subprocess.run([self.program, "pipeline", *self.options, "--out", out], check=True, capture_output=True)

    def submit(self, out, launcher):
        more = {"EFF_UNET": str(self.program), "LAUNCHER": launcher, "PATH": f"{self.mpich}/bin:{os.environ['PATH']}",
                "LD_LIBRARY_PATH": f"{self.mpich}/lib"}
        line = ["sbatch", "--parsable", "-N", "1", "--ntasks-per-node=2", str(ROOT / "deploy/slurm/train.sbatch")]
        return self.cluster.call(*line, *self.options, "--out", str(out), **more).strip()

    def runs(self, out):
        return [run for run in (out / "pneumonia").glob("2*") if run.is_dir() and not run.is_symlink()]

    def same(self, one, other):
        pair = [self.runs(out) for out in (one, other)]
        return [len(runs) for runs in pair] == [1, 1] and all(
            filecmp.cmp(pair[0][0] / name, pair[1][0] / name, shallow=False) for name in self.FILES)


def trained(t, one, folder):
    for launcher in ("mpiexec", "srun --mpi=pmi2"):
        print(f"training on two tasks by {launcher}", flush=True)
        start, out = time.monotonic(), folder / f"train-{launcher.split()[0]}"
        job = t.submit(out, launcher)
        states = t.cluster.ended(job)
        check(states == {"COMPLETED": 1}, f"job {states} after {time.monotonic() - start:.1f} s")
        check("2 processes train together" in log_of(t.cluster, job), "two processes trained together")
        check(t.same(one, out), "model, metrics and predictions are those of one process")


def training_requeued(t, one, folder):
    print("scontrol requeue in the middle of a training by mpiexec", flush=True)
    out = folder / "train-requeued"
    job = t.submit(out, "mpiexec")
    begun = lambda: [run for run in t.runs(out) if (run / "checkpoints/last.safetensors").exists()]
    wait("a checkpoint", begun, every=0.01)
    t.cluster.call("scontrol", "requeue", job)
    states = t.cluster.ended(job)
    check(states == {"COMPLETED": 1} and t.cluster.states(job)[0][3] == "1", f"job {states}, restarted once")
    said = log_of(t.cluster, job)
    check("[1/3] index: already done" in said and said.count(" 6/6: ") == 1, "it went on after the last complete epoch")
    check(t.same(one, out), "model, metrics and predictions are those of one process")


def prepared(program, folder, images):
    """A run of the smallest network, and the phantom radiographs of its test split, which it has drawn."""
    settings = [*TINY, f"demo.phantom.test=[{images // 2},{images // 2}]"]
    command = [program, "pipeline", "pneumonia", "--demo", "--out", folder / "runs"]
    command += [part for setting in settings for part in ("--set", setting)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    test = next((folder / "runs/.phantom").glob("*/images/test"))
    return (folder / "runs/pneumonia/latest").resolve(), test


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/eff-unet")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--mpich", type=Path, default=ROOT / "target/mpich", help="installed by tools/install_mpich.sh")
    parser.add_argument("--only", choices=["predict", "train"])
    parser.add_argument("--cpus", type=int, default=8, help="of the node as Slurm sees it: 4 a task")
    arguments = parser.parse_args()
    if missing := [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]:
        sys.exit(f"not installed: {', '.join(missing)} (Debian: slurm-wlm and munge)")
    # Short, because a socket's path must be.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    program = arguments.program.resolve()
    print(subprocess.getoutput("slurmd -V"), "in", folder, flush=True)
    start = time.monotonic()
    if arguments.only != "train":
        run, images = prepared(program, folder, arguments.images)
        print(f"network and images: {time.monotonic() - start:.1f} s", flush=True)
    with Cluster(folder, arguments.cpus) as cluster:
        if arguments.only != "train":
            p = Prediction(cluster, program, run, images, arguments)
            start = time.monotonic()
            p.alone(folder / "one")
            print(f"{arguments.images} images in one process: {time.monotonic() - start:.1f} s", flush=True)
            for what in (undisturbed, killed, requeued, stepped):
                what(p, folder / "one", folder)
        if arguments.only != "predict" and (arguments.mpich / "bin/mpiexec").exists():
            t = Training(cluster, program, arguments.mpich.resolve())
            t.alone(folder / "trained")
            for what in (trained, training_requeued):
                what(t, folder / "trained", folder)
        elif arguments.only != "predict":
            print(f"skipped, because {arguments.mpich} has no mpiexec: training")
    if faults:
        sys.exit(f"{len(faults)} faults; the files are in {folder}")
    shutil.rmtree(folder)
    print("all as it should be")


if __name__ == "__main__":
    main()
