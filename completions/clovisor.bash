# SPDX-License-Identifier: Apache-2.0
# bash completion for clovisor

_clovisor_interfaces()
{
	ls /sys/class/net 2>/dev/null
}

_clovisor_namespaces()
{
	ls /run/netns 2>/dev/null
}

# Words that may follow an option; fails when the option takes no such word.
_clovisor_values()
{
	case $1 in
	-i | --interface) _clovisor_interfaces ;;
	--netns) _clovisor_namespaces ;;
	--side) echo auto pod host ;;
	--attach) echo auto tcx clsact ;;
	-o | --output) echo auto text json none ;;
	--color) echo auto always never ;;
	--filter) echo method= path= status= min-duration= ;;
	--otlp-protocol) echo http/protobuf grpc http/json ;;
	--otlp-compression) echo none gzip ;;
	--otlp-metrics) echo true false ;;
	--propagators) echo tracecontext baggage b3 b3multi jaeger xray none ;;
	--sampler)
		echo always_on always_off traceidratio= parentbased_always_on parentbased_always_off parentbased_traceidratio=
		;;
	--sample-keep) echo errors slower= ;;
	--port | --egress | --limit | --service | --memory | --duration | --snaplen | --ring | --max-flows) : ;;
	--otlp | --otlp-header | --export-queue | --spool-max | --flush-timeout | --metrics | --metrics-max-series) : ;;
	--metrics-bounds | --sample-rate | --route | --capture-header | --redact) : ;;
	*) return 1 ;;
	esac
}

_clovisor_options()
{
	local shared="--side --port --egress --filter --limit --service -o --output --json --color --hexdump -w --write
		--stats --summary --memory --otlp --otlp-protocol --otlp-header --otlp-compression --otlp-ca --otlp-cert --otlp-key
		--otlp-metrics --export-queue --spool --spool-max --flush-timeout --metrics --metrics-max-series --metrics-bounds
		--propagators --sampler --sample-rate --sample-keep --route --auto-route --capture-header --redact -c --config -h --help"

	case $1 in
	trace) echo "-i --interface --netns --attach --duration --snaplen --ring --max-flows $shared" ;;
	read) echo "$shared" ;;
	config) echo "--json --given -c --config -h --help" ;;
	check | version) echo "--json -h --help" ;;
	detach) echo "--all -i --interface --force -h --help" ;;
	help) echo "-h --help" ;;
	esac
}

_clovisor()
{
	local commands="trace read config check detach version help"
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} values

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
		return
	fi
	# bash makes words of their own of "=" and what follows it.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $prev in
	-w | --write | --summary | -c | --config | --otlp-ca | --otlp-cert | --otlp-key | --spool)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	esac
	if values=$(_clovisor_values "$prev"); then
		mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
		[[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace
	elif [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_clovisor_options "$command")" -- "$cur")
	elif [[ $command == config ]] && ((COMP_CWORD == 2)); then
		mapfile -t COMPREPLY < <(compgen -W "check print schema" -- "$cur")
	elif [[ $command == read || $command == config ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	elif [[ $command == help ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
	fi
}

complete -o filenames -F _clovisor clovisor
