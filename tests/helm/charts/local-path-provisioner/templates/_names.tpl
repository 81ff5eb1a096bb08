{{- define "name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "fullname" -}}
{{- $name := include "name" . }}
{{- $both := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $both .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "account" -}}
{{ .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "fullname" .) "default") }}
{{- end }}

{{- define "provisioner" -}}
{{ .Values.storageClass.provisionerName | default (print "cluster.local/" (include "fullname" .)) }}
{{- end }}

{{/* What a budget and the Deployment find the pods by. */}}
{{- define "selector" -}}
app.kubernetes.io/name: {{ include "name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* Of the pods, too. */}}
{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The head of an object of that name. */}}
{{- define "metadata" -}}
name: {{ include "fullname" . }}
labels:
  {{- include "labels" . | nindent 2 }}
{{- end }}
