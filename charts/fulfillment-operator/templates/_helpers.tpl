{{- define "fulfillment-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "fulfillment-operator.fullname" -}}
{{- $name := include "fulfillment-operator.name" . }}
{{- $release := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- /* 63, less the -metrics of the Service */}}
{{- default $release .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- end }}

{{- define "fulfillment-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fulfillment-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "fulfillment-operator.labels" -}}
{{ include "fulfillment-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "fulfillment-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "fulfillment-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The installation key's Secret, as namespace/name: the flag and the Role must agree. */}}
{{- define "fulfillment-operator.installationKeySecret" -}}
{{- default (printf "%s/fulfillment-installation-key" .Release.Namespace) .Values.installationKeySecret }}
{{- end }}
