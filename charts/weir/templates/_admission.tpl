{{- /* Where the admission policies are in force: in the served namespaces. */ -}}
{{- define "weir.admissionScope" -}}
{{- with .Values.namespaces }}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values:
          {{- toYaml . | nindent 10 }}
{{- end }}
{{- end -}}

{{- /* Annotations and user names as CEL variables; `whose` is the variable that has the Rollout. */ -}}
{{- define "weir.annotation" -}}
has({{ .whose }}.metadata.annotations) && '{{ .name }}' in {{ .whose }}.metadata.annotations
? {{ .whose }}.metadata.annotations['{{ .name }}'] : ''
{{- end -}}

{{- /*
What weir.dev/changed-by must be on a Rollout: `wanted`. Who changes versionRef stands there alone; who changes anything
else, the annotation weir.dev/author included, is added. `is` is what the request says, `was` what is stored.
*/ -}}
{{- define "weir.changedBy" -}}
- name: is
  expression: >-
    {{- include "weir.annotation" (dict "whose" "object" "name" "weir.dev/changed-by") | nindent 4 }}
- name: was
  expression: >-
    oldObject == null ? '' :
    {{- include "weir.annotation" (dict "whose" "oldObject" "name" "weir.dev/changed-by") | nindent 4 }}
- name: author
  expression: >-
    {{- include "weir.annotation" (dict "whose" "object" "name" "weir.dev/author") | nindent 4 }}
- name: oldAuthor
  expression: >-
    oldObject == null ? '' :
    {{- include "weir.annotation" (dict "whose" "oldObject" "name" "weir.dev/author") | nindent 4 }}
- name: wanted
  expression: >-
    oldObject == null || object.spec.versionRef != oldObject.spec.versionRef ? request.userInfo.username
    : object.spec == oldObject.spec && variables.author == variables.oldAuthor ? variables.was
    : variables.was == '' ? request.userInfo.username
    : request.userInfo.username in variables.was.split(',') ? variables.was
    : variables.was + ',' + request.userInfo.username
{{- end -}}

{{- /* The user that the operator is. */ -}}
{{- define "weir.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "weir.serviceAccountName" . }}
{{- end -}}

{{- /* Whether agents are held to their AgentPolicy; `true` or nothing. */ -}}
{{- define "weir.guardsAgents" -}}
{{- if and .Values.admission.actions .Values.admission.agents.enabled }}true{{ end -}}
{{- end -}}

{{- /* Who asks, and which subjects of the AgentPolicy in `params` that is: `mine`. The operator is in groups, too. */ -}}
{{- define "weir.subjects" -}}
- name: user
  expression: request.userInfo.username
- name: groups
  expression: >-
    has(request.userInfo.groups) && variables.user != '{{ include "weir.operatorUser" . }}'
    ? request.userInfo.groups : []
- name: mine
  expression: >-
    params.spec.subjects.filter(s, s.kind == 'Group' ? s.name in variables.groups
    : variables.user == (s.kind == 'User' ? s.name : 'system:serviceaccount:' + s.namespace + ':' + s.name))
{{- end -}}

{{- /* New ActionRequests with a label: others neither need the parameters of the policy nor wait for them. */ -}}
{{- define "weir.labelledRequests" -}}
resourceRules:
  - apiGroups: [weir.dev]
    apiVersions: [v1alpha1]
    operations: [CREATE]
    resources: [actionrequests]
objectSelector:
  matchExpressions:
    - key: {{ . }}
      operator: Exists
{{- end -}}

{{- /* Names of all admission policies, after the full name. */ -}}
{{- define "weir.guards" -}}
[actions, approvals, rollouts, permits, request-labels, outer-bounds, agent-policies, subjects, workloads, answers,
kept-answers, protect-checks, protect-modelversions]
{{- end -}}
