# Runs one local node: boots it, boots it again when it asks for that, ends when it ends.
#
#     launch.sh enter|run FOLDER LAYOUT COMMAND...
#
# FOLDER/cgroups lists the node's cgroup in every hierarchy, one a line. LAYOUT is `legacy`,
# `unified`, or `scope` (unified, and systemd has put this shell into a scope of its own). COMMAND
# is systemd-nspawn with its arguments. FOLDER/pid always holds the process id of systemd-nspawn
# itself: ending that is a power failure.
set -u
phase=$1
folder=$2
layout=$3
shift 3

# First the node's cgroups are entered, then labctl is let go: from that moment on, whoever ends the
# node's cgroups ends everything of the node. The second half is a session of its own, which
# outlives labctl and its terminal.
if [ "$phase" = enter ]; then
    if [ "$layout" = scope ]; then
        sed -n 's,^0::,/sys/fs/cgroup,p' /proc/self/cgroup >"$folder/cgroups"
    fi
    while read -r cgroup; do
        # A version 2 cgroup that hands controllers on may hold no process itself: each half gets
        # one below.
        if [ "$layout" != legacy ]; then
            cgroup=$cgroup/launcher
            mkdir -p "$cgroup" || exit 1
        fi
        echo 0 >"$cgroup/cgroup.procs" || exit 1
    done <"$folder/cgroups"
    # What whoever started labctl has open, such as a lock, would stay open as long as the node
    # runs. bash, because sh closes no file whose number has two digits.
    # shellcheck disable=SC2016 # bash fills it in
    exec setsid --fork bash -c 'for file in /proc/$$/fd/*; do
        [ "${file##*/}" -le 2 ] || eval "exec ${file##*/}>&-"
    done
    exec sh "$0" run "$@"' "$folder/launch.sh" "$folder" "$layout" "$@"
fi

if [ "$layout" != legacy ]; then
    read -r cgroup <"$folder/cgroups"
    read -r controllers <"$cgroup/cgroup.controllers"
    for controller in $controllers; do
        echo "+$controller" >"$cgroup/cgroup.subtree_control" || :
    done
fi

while :; do
    rm -f "$folder/ready"
    sh -c '
        folder=$1
        layout=$2
        shift 2
        while read -r cgroup; do
            if [ "$layout" != legacy ]; then
                cgroup=$cgroup/machine
                mkdir -p "$cgroup" || exit 1
            fi
            echo 0 >"$cgroup/cgroup.procs" || exit 1
        done <"$folder/cgroups"
        echo $$ >"$folder/pid.new" && mv "$folder/pid.new" "$folder/pid" || exit 1
        exec "$@"
    ' boot "$folder" "$layout" "$@"
    status=$?
    # A booting machine expects to find no cgroups of its last life.
    while read -r cgroup; do
        find "$cgroup" -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null
    done <"$folder/cgroups"
    # systemd-nspawn that was told to keep to its cgroup leaves a reboot to whoever started it, and
    # says so with 133.
    [ "$status" -eq 133 ] || break
done
echo "$status" >"$folder/ended"
