{{- define "name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "fullname" -}}
{{- $name := include "name" . }}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $both .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "account" -}}
{{ .Values.serviceAccount.create | ternary (include "fullname" .) "default" }}
{{- end }}

{{/* What a Service, a budget and the Deployment find the pods by. */}}
{{- define "selector" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/name: {{ include "name" . }}
{{- if .Values.isClusterService }}
k8s-app: {{ default .Chart.Name .Values.k8sAppLabelOverride }}
{{- end }}
{{- end }}

{{/* The head of an object: its name, and labels. */}}
{{- define "metadata" -}}
name: {{ include "fullname" . }}
labels:
  {{- include "selector" . | nindent 2 }}
  app.kubernetes.io/managed-by: {{ .Release.Service }}
  helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
  {{- if .Values.isClusterService }}
  kubernetes.io/cluster-service: "true"
  kubernetes.io/name: CoreDNS
  {{- end }}
  {{- with .Values.customLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.customAnnotations }}
annotations: {{ toJson . }}
{{- end }}
{{- end }}

{{/* By port of a server: which transports a Service offers there. The pod listens at both. */}}
{{- define "ports" -}}
{{- $ports := dict }}
{{- range .Values.servers }}
{{- $transports := list "UDP" }}
{{- range .zones }}
{{- if .use_tcp }}
{{- $transports = list "UDP" "TCP" }}
{{- end }}
{{- end }}
{{- $ports = set $ports (toString .port) (concat (get $ports (toString .port) | default list) $transports | uniq) }}
{{- end }}
{{- toJson $ports }}
{{- end }}
