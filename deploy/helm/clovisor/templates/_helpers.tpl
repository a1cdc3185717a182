{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}

{{- define "clovisor.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "clovisor.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "clovisor.labels" -}}
{{ include "clovisor.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "clovisor.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "clovisor.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "clovisor.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* The address and the port of metrics.listen: ":9464", "127.0.0.1:9464", "[::1]:9464". */ -}}
{{- define "clovisor.port" -}}
{{- .Values.config.metrics.listen | splitList ":" | last -}}
{{- end -}}
{{- define "clovisor.host" -}}
{{- .Values.config.metrics.listen | trimSuffix (printf ":%s" (include "clovisor.port" .)) | trimAll "[]" -}}
{{- end -}}

{{- define "clovisor.probe" -}}
httpGet:
  path: {{ .path }}
  port: metrics
  {{- with include "clovisor.host" .root }}
  host: {{ . | quote }}
  {{- end }}
{{- end -}}

{{- /* clovisor.yaml; with a spool it has that in it, too. */ -}}
{{- define "clovisor.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.spool.enabled -}}
{{- $spool := dict "dir" "/var/lib/clovisor/spool" "max" .Values.spool.max -}}
{{- $config = mergeOverwrite $config (dict "export" (dict "spool" $spool)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}
