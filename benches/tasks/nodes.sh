# Three local nodes and the 30 tasks on them, by labctl, Ansible and pyinfra: for the rows that
# compare these.
#
# Every tool checks host keys, works on all nodes at the same time and is started again for every
# run, as a person would. Ansible's ssh connections outlive its runs. What the tools leave on the
# nodes is compared after every run.
# shellcheck shell=sh disable=SC2154 # benches/lib.sh is read before
here=$benches/tasks
mkdir "$work/lab"
inventory=$work/lab/inventory.yaml
sed "s|BUNDLE|$sources/bundle|" "$here/labctl/inventory.yaml" > "$inventory"
bare_nodes "$inventory"
lab=$work/lab/.labctl/tasks
ssh_config "$lab"
nodes="10.250.0.10 10.250.0.11 10.250.0.12"
for node in $nodes; do
  tar -C "$peers/image" -c . | $ssh "$node" tar -x --keep-directory-symlink --no-overwrite-dir -C /
done

run_labctl() {
  "$labctl" play "$here/labctl/tasks.yaml" --templates "$here/labctl/templates" "$inventory"
}
run_ansible() {
  cd "$here/ansible"
  "$peers/bin/ansible-playbook" --ssh-common-args "-F $HOME/.ssh/config" playbook.yaml
}
run_pyinfra() {
  cd "$here/pyinfra"
  "$peers/bin/pyinfra" -y inventory.py deploy.py
}

# What the tasks are about, as it is on each node.
state() {
  for node in $nodes; do
    $ssh "$node" '
      files="/etc/bench/* /etc/systemd/system/bench-*.service"
      sha256sum $files && stat -c "%n %a %U:%G" $files
      systemctl show -p Id,ActiveState,UnitFileState "bench-*.service"'
  done
}
# A node as it was before the first run.
bare() {
  for node in $nodes; do
    $ssh "$node" '
      systemctl disable --quiet --now "bench-*.service" \
        $(cd /etc/systemd/system && ls | grep ^bench-) 2> /dev/null
      rm -rf /etc/bench /etc/systemd/system/bench-*.service /var/lib/labctl
      systemctl daemon-reload' || :
  done
}

# All tools in turn, $runs times: once on bare nodes, and once more with nothing to change.
compare() { # figures of the first runs, figures of the second ones
  round=0
  while [ "$round" -lt "$runs" ]; do
    round=$((round + 1))
    for tool in labctl Ansible pyinfra; do
      run=run_$(echo "$tool" | tr '[:upper:]' '[:lower:]')
      bare
      figures=$1
      measure "$tool" "$run"
      must_equal_first "$tool" "$(state)"
      figures=$2
      measure "$tool" "$run"
      must_equal_first "$tool" "$(state)"
    done
  done
}
