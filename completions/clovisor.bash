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
	--capture) echo auto interface cgroup ;;
	--kubernetes) echo true false ;;
	--namespace | -n | --selector | -l | --node | --context | --cluster | --name-wait) : ;;
	-o | --output) echo auto text json none ;;
	--color) echo auto always never ;;
	--filter) echo method= path= status= min-duration= db.system.name status duration kind protocol service.name ;;
	--only) echo engine json otlp ;;
	--otlp-protocol) echo http/protobuf grpc http/json ;;
	--otlp-compression) echo none gzip ;;
	--otlp-metrics) echo true false ;;
	--propagators) echo tracecontext baggage b3 b3multi jaeger xray none ;;
	--sampler)
		echo always_on always_off traceidratio= parentbased_always_on parentbased_always_off parentbased_traceidratio=
		;;
	--sample-keep) echo errors slower= ;;
	--workers) echo 1 2 3 4 5 6 7 8 ;;
	--repeat | --port | --egress | --limit | --service | --memory | --duration | --snaplen | --ring | --max-flows) : ;;
	--otlp | --otlp-header | --export-queue | --spool-max | --flush-timeout | --metrics | --metrics-max-series) : ;;
	--metrics-bounds | --sample-rate | --route | --capture-header | --redact) : ;;
	*) return 1 ;;
	esac
}

_clovisor_options()
{
	local live="--attach --duration --snaplen --ring --max-flows" shared="--port --egress --plugin --filter --limit --service -o --output --json --color --flows --hexdump -w --write
		--stats --summary --memory --workers --otlp --otlp-protocol --otlp-header --otlp-compression --otlp-ca --otlp-cert --otlp-key
		--otlp-metrics --export-queue --spool --spool-max --flush-timeout --metrics --metrics-max-series --metrics-bounds
		--propagators --sampler --sample-rate --sample-keep --route --auto-route --capture-header --redact
		--show-statements -c --config -h --help"

	case $1 in
	trace) echo "-i --interface --netns --cgroup --side $live $shared" ;;
	agent)
		echo "--dry-run -n --namespace -l --selector --kubernetes --kubeconfig --context --node --capture --all-pods
			--service-labels --cluster --name-wait --proc --cgroup-root $live $shared"
		;;
	read) echo "--side $shared" ;;
	bench)
		echo "--json --repeat --workers --only --side --port --egress --plugin --memory --propagators --route --auto-route
			--capture-header --redact --show-statements -c --config -h --help"
		;;
	config) echo "--json --given -c --config -h --help" ;;
	check | check-plugin | version) echo "--json -h --help" ;;
	status) echo "--json --socket -h --help" ;;
	detach) echo "--all -i --interface --force -h --help" ;;
	help) echo "-h --help" ;;
	esac
}

_clovisor()
{
	local commands="trace agent read bench config check check-plugin status detach version help"
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
	-w | --write | --summary | -c | --config | --otlp-ca | --otlp-cert | --otlp-key | --spool | --plugin)
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
	elif [[ $command == read || $command == bench || $command == config || $command == check-plugin ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	elif [[ $command == help ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$cur")
	fi
}

complete -o filenames -F _clovisor clovisor
