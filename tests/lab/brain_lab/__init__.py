"""The AWS lab: moto in one process, with the ECS control loop that moto lacks.

    cd tests/lab && python -m brain_lab --port 0 --ready-file PATH [--exit-with-parent]

It binds 127.0.0.1 only. When it serves, it writes `{"port": N}` to the ready file and prints the same line. It ends on
SIGTERM and SIGINT, and with --exit-with-parent within half a second of its parent's death. Clients use
AWS_ENDPOINT_URL=http://127.0.0.1:N, any credentials and region us-east-1. All times are milliseconds. It never calls
anything outside itself and keeps nothing on disk.

What it adds to moto: hosts of an auto-scaling group join the cluster that their user data names; services place, start,
drain and stop tasks; classic ELB health follows the task on the health check's port, and a target group's the task on
the target's port; the answers where moto differs from
AWS; CloudWatch's CBOR protocol; throttling; faults; a record for assertions.

    cd tests/lab && python -m venv ENV && ENV/bin/pip install -r requirements.txt && ENV/bin/python -m pytest -q

Endpoints (JSON in and out; a mistake is answered with 400 and {"error": "..."}):

GET  /_lab/settings        -> {"boot_delay_ms":400, "pull_delay_ms":150, "health_delay_ms":200, "drain_delay_ms":200,
    "tick_ms":50, "elb_grace_ms":600, "grace_second_ms":10, "crash_delay_ms":100, "restart_delay_ms":100, "replace_delay_ms":200,
    "event_repeat_ms":5000, "stopped_task_ttl_ms":3600000, "host_cpu":4096, "host_memory":7482,
    "behaviours":[], "throttle":false, "throttle_scale":1.0}
POST /_lab/settings        {"boot_delay_ms":100, "throttle":true, "behaviours":[{"match":"0.0.5", "behaviour":"crash"}]}
    -> all settings. Only the named ones change; `behaviours` is replaced as a whole. Behaviours are read when a task
    starts. `match` is a substring of any of: an image, the task definition's ARN, the service's name. First match wins.
      {"match":M, "behaviour":"crash", "delay_ms":100}      runs, then exits with code 1 after delay_ms (default
                                                            crash_delay_ms), for ever; a long delay fails a bake
      {"match":M, "behaviour":"unhealthy", "delay_ms":0}    runs; the ELB finds it sick delay_ms after its start (0: never
                                                            healthy); ECS stops and restarts it after elb_grace_ms
      {"match":M, "behaviour":"warms_up", "delay_ms":2000}  runs; the ELB finds it sick until delay_ms after its start, and ECS
                                                            stops it meanwhile as any other sick task
      {"match":M, "behaviour":"slow", "delay_ms":2000}      stays PENDING delay_ms longer
      {"match":M, "behaviour":"cannot_pull"}                stops with CannotPullContainerError, for ever
    A second of a service's healthCheckGracePeriodSeconds lasts grace_second_ms: for so long after its start no sick task is
    stopped. `throttle_scale` multiplies the limits of AWS.md's table (0.1: a tenth of burst and rate).

POST /_lab/faults          {"action":"UpdateService", "fault":"error500", "count":1} or a list of such rules
    -> {"faults":[{"id":1, "action":"UpdateService", "fault":"error500", "count":1, "after":0, "probability":1.0,
    "seed":0, "delay_ms":0, "hits":0}]}
    action: a call's name or "*". fault: throttle | error500 | denied | slow | reset | error_after_effect | reset_after_effect.
    count: how often at most (absent: for ever). after: let so many matching calls pass first. probability with seed: a
    repeatable sequence. delay_ms: how long `slow` waits before the call. The first rule that fires wins.
GET  /_lab/faults          -> {"faults":[...]}
DELETE /_lab/faults        -> {"faults":[]}

POST /_lab/kill-host       {"instance_id":"i-..."} or {"service":"NAME"} (a host with a live task of it) or {} (any host)
    -> {"instance_id":"i-..."}. The host dies; after replace_delay_ms its group replaces it.
POST /_lab/stillborn       {"count":1, "age_ms":600000} -> {"stillborn":1}. So many of the instances that are launched next
    run and never join their cluster; EC2 says that they were launched age_ms earlier than they were.
POST /_lab/reset-record    -> {}. Empties calls, samples and events; time starts again from 0.

GET  /_lab/record[?since_ms=N]  -> {"t_ms":1234, "moving_ms":900,
    "calls":{"UpdateService":3}, "throttled":{"UpdateService":1}, "faulted":{"UpdateService":1},
    "errors":{"CreateService InvalidParameterException":1},
    "samples":[{"t_ms":10, "elbs":{"web-lb":{"in_service_total":3, "by_service":{"web-0-0-4":3}}}}],
    "events":[{"t_ms":10, "kind":"task_started", ...}],
    "live_tasks_killed":[{"t_ms":10, "kind":"live_task_killed", "service":"web-0-0-4", "task":"...", "instance_id":"i-...",
      "last_status":"RUNNING", "desired_status":"RUNNING", "cause":"TerminateInstanceInAutoScalingGroup"}]}
    moving_ms: time in which something was on its way that no caller can hurry: instances booting, tasks that start, are not found
    healthy yet, or drain. A sample is taken after every tick and every changing call that changed it; `by_service` counts tasks that are RUNNING
    and InService behind that ELB. `throttled` counts what the token buckets refused. `cause` is the API call that ended
    the host, or "kill-host". A task that had already left its ELB and was draining when its host ended is not among
    live_tasks_killed; it is an event of kind draining_task_killed. "errors" counts AWS error answers of the lab itself,
    neither faults nor throttling. Event kinds: task_started, task_running, task_stopping, task_stopped (service, task, image,
    instance_id; stopping and stopped also reason and stop_code; stopped also exit_code), host_launched, host_joined,
    host_draining, host_terminated (instance_id, group or cluster, cause), live_task_killed. Samples are bounded to
    20,000, events to 20,000: the oldest go first, and "dropped" says how many.

GET  /_lab/state           everything with ids:
    {"security_groups":[{"id","name","ingress":["tcp 80-80 0.0.0.0/0"]}],
     "elbs":[{"name","listeners":["443:8080 HTTPS"], "instances":{"i-1":"InService"}}],
     "target_groups":[{"name","targets":{"i-1":"healthy"}}],
     "launch_templates":[{"id","name","versions":1}], "launch_configurations":["name"],
     "groups":[{"name","desired":3,"min":0,"max":6,"instances":["i-1"]}],
     "clusters":[{"name","status","container_instances":[{"id","instance_id","status","zone","running","pending","ports":[8080],
       "agent_connected":true}]}],
     "services":[{"name","cluster","status","desired","running","pending","image","task_definition","events":["..."]}],
     "tasks":[{"id","service","instance_id","last_status","desired_status","healthy":true,"image"}]}   live tasks only
GET  /_lab/fingerprint     what must be equal when two runs end alike; no ids, no times:
    {"security_groups":{"web-sg":{"count":1, "ingress":["tcp 80-80 0.0.0.0/0"]}},
     "elbs":{"web-lb":{"in_service":3, "registered":3, "listeners":["80:8080 HTTP"]}},
     "target_groups":{"web-tg-a":{"healthy":3, "registered":3}},
     "launch_templates":{"web-lt":{"count":1, "versions":1}}, "launch_configurations":["name"],
     "groups":{"web-asg":{"desired":3, "actual":3}},
     "clusters":{"web-cluster":{"status":"ACTIVE", "instances":3, "draining":0}},
     "services":{"web-cluster/web-0-0-4":{"status":"ACTIVE", "desired":3, "running":3, "pending":0, "image":"acme/web:0.0.4"}},
     "task_definitions":{"web-task":{"active":1}}, "instances_running":3, "tasks_live":3}
"""
