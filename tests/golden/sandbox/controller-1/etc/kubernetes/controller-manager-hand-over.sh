#!/bin/sh
# Gives up the lead, if kube-controller-manager on controller-1 had it when it ended.
# kube-scheduler does that by itself; this program does not, and whoever leads next, on this node
# too, would wait for 15 s until the lease has run out. What it writes is what release() in
# client-go's tools/leaderelection does. The object's version goes with it: a lead that somebody
# else has taken since is left alone.

# The lead is recognised by the host name, so that must be this node's alone.
[ "$(uname -n)" = "controller-1" ] || exit 0
export KUBECONFIG=/etc/kubernetes/controller-manager.conf
lease=/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager

found=$(kubectl --request-timeout=2s get --raw "$lease") || exit 0
case $found in
  *"\"holderIdentity\":\"$(uname -n)_"*) ;;
  *) exit 0 ;;
esac
printf '%s\n' "$found" |
  sed 's/"holderIdentity":"[^"]*"/"holderIdentity":""/; s/"leaseDurationSeconds":[0-9]*/"leaseDurationSeconds":1/' |
  kubectl --request-timeout=2s replace --raw "$lease" -f - > /dev/null
