#!/bin/bash
# Submits the prediction of many images as a Slurm array, and a job that joins the shares when the array has ended.
#
#   submit.sh SHARDS OUT RUN IMAGES [OPTIONS of predict]
#   ARRAY=3,7 submit.sh SHARDS OUT RUN IMAGES [OPTIONS of predict]    # only these shares again
#
# EFF_UNET is the program, if it is not in the PATH; SBATCH_PARTITION, SBATCH_ACCOUNT and the like are sbatch's own.
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: submit.sh SHARDS OUT RUN IMAGES [OPTIONS of predict]" >&2
    exit 2
fi
here=$(dirname "$(readlink -f "$0")")
# Not afterok: whether the shares are complete is what the merge checks.
array=$(sbatch --parsable --array="${ARRAY:-1-$1}" "$here/predict.sbatch" "$@")
merge=$(sbatch --parsable --dependency="afterany:${array%%;*}" "$here/merge.sbatch" "$2")
echo "array ${array%%;*}, merge ${merge%%;*}"
