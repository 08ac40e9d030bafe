{{- /* What the operator does to objects in a served namespace, and nothing more; tests/unit/chart holds the same list. */ -}}
{{- define "weir.rules" -}}
# The finalizer is patched on the object itself; what a person wrote in spec is never changed.
- apiGroups: [weir.dev]
  resources: [rollouts]
  verbs: [get, list, watch, patch]
# Where agents are silent, the fallback of an AgentPolicy asks for these by ActionRequests.
- apiGroups: [weir.dev]
  resources: [rollouts]
  verbs: [pause, abort, rollback]
- apiGroups: [weir.dev]
  resources: [datacontracts, agentpolicies]
  verbs: [get, list, watch]
# A Retrain ends in a new version.
- apiGroups: [weir.dev]
  resources: [modelversions]
  verbs: [get, list, watch, create]
# Finished requests are deleted after a while. create is for what rules and the fallback of an AgentPolicy ask for, and
# for dry runs, which check that admission is in force.
- apiGroups: [weir.dev]
  resources: [actionrequests]
  verbs: [get, list, watch, create, delete]
# Checks of data: asked for on schedule and for releases, and deleted when they are old. Only their pods write results.
- apiGroups: [weir.dev]
  resources: [contractchecks]
  verbs: [get, list, watch, create, delete]
- apiGroups: [weir.dev]
  resources: [rollouts/status, modelversions/status, actionrequests/status, datacontracts/status, agentpolicies/status]
  verbs: [patch]
# Records are written once and never changed.
- apiGroups: [weir.dev]
  resources: [rolloutrecords]
  verbs: [get, list, watch, create]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# Accepted states of DataContracts are kept as revisions, and never changed.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, delete]
# A check is a Job with a plan (ConfigMap) and an account, which may write the result of checks and nothing else.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create]
# get is for documents and profiles that a DataContract names.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [rolebindings]
  verbs: [create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [{{ include "weir.checkRole" . }}]
  verbs: [bind]
# What templates of AgentPolicies create or patch, and how it ends.
{{- range .Values.agents.templateKinds }}
{{- $parts := splitn "." 2 . }}
- apiGroups: [{{ $parts._1 }}]
  resources: [{{ $parts._0 }}]
  verbs: [get, create, patch]
{{- end }}
# Signs of life of agents.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
