"""Checks task definitions against botocore's model of RegisterTaskDefinition and against rules the model does not know.

    python tests/python/check_task_definitions.py [FILE...]      default: task-definitions/*.json examples/*task*.json examples/*/task.json

Ends non-zero and says why if a file is wrong, or if a mistake planted in a copy is not found.
"""

import copy
import json
import pathlib
import sys

import botocore.session
from botocore.validate import ParamValidator

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = botocore.session.get_session().get_service_model("ecs")
SHAPE = MODEL.operation_model("RegisterTaskDefinition").input_shape
FARGATE_MEMORY = {"256": range(512, 2049, 512), "512": range(1024, 4097, 1024), "1024": range(2048, 8193, 1024)}


def outside_enumerations(value, shape, path="task"):
    """botocore checks names and types, not enumerations."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            yield from outside_enumerations(inner, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for place, inner in enumerate(value):
            yield from outside_enumerations(inner, shape.member, f"{path}[{place}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is none of {', '.join(shape.enum)}"


def against_rules(task):
    containers = task["containerDefinitions"]
    by_name = {container["name"]: container for container in containers}
    routers = [container for container in containers if "firelensConfiguration" in container]
    fargate = "FARGATE" in task.get("requiresCompatibilities", [])
    if len(by_name) != len(containers):
        yield "two containers have one name"
    if not any(container.get("essential", True) for container in containers):
        yield "no container is essential"
    if len(routers) > 1:
        yield "more than one log router"
    if fargate:
        sizes = FARGATE_MEMORY.get(task.get("cpu"))
        if sizes and int(task.get("memory", 0)) not in sizes:
            yield f"Fargate has no {task['cpu']} CPU with {task.get('memory')} MiB"
        if task.get("networkMode") != "awsvpc":
            yield "Fargate needs the network mode awsvpc"
        if "executionRoleArn" not in task:
            yield "Fargate needs an execution role to pull images and write awslogs"
    reserved = sum(container.get("memoryReservation", container.get("memory", 0)) for container in containers)
    if reserved > int(task.get("memory", reserved)):
        yield "the containers reserve more memory than the task has"
    for name, container in by_name.items():
        log = container.get("logConfiguration", {})
        if log.get("logDriver") == "awsfirelens" and not routers:
            yield f"{name}: awsfirelens without a log router"
        if log.get("logDriver") == "awsfirelens" and log.get("options") and "Name" not in log["options"]:
            yield f"{name}: the output has no Name"
        if fargate and log and log.get("logDriver") not in ("awslogs", "splunk", "awsfirelens"):
            yield f"{name}: Fargate has no log driver {log.get('logDriver')}"
        if fargate and container.get("stopTimeout", 30) > 120:
            yield f"{name}: Fargate takes a stopTimeout of 120 at most"
        check = container.get("healthCheck")
        if check and check["command"][0] not in ("CMD", "CMD-SHELL"):
            yield f"{name}: a health check begins with CMD or CMD-SHELL"
        if check and not (5 <= check.get("interval", 30) <= 300 and 2 <= check.get("timeout", 5) <= 60):
            yield f"{name}: the health check's interval is 5 to 300 s, its timeout 2 to 60 s"
        if not 60 <= container.get("restartPolicy", {}).get("restartAttemptPeriod", 300) <= 1800:
            yield f"{name}: restartAttemptPeriod is 60 to 1800 s"
        for dependency in container.get("dependsOn", []):
            target = by_name.get(dependency["containerName"])
            if target is None:
                yield f"{name}: depends on {dependency['containerName']}, which is not there"
            elif dependency["condition"] == "HEALTHY" and "healthCheck" not in target:
                yield f"{name}: waits for the health of {dependency['containerName']}, which has no health check"
    for router in routers:
        yield from of_the_router(router, containers, fargate)


def of_the_router(router, containers, fargate):
    name = router["name"]
    if router.get("dependsOn"):
        yield f"{name}: a log router that depends on something gets no containers that wait for it"
    if router.get("logConfiguration", {}).get("logDriver") == "awsfirelens":
        yield f"{name}: a log router cannot log through itself"
    if fargate and router["firelensConfiguration"].get("options", {}).get("config-file-type") == "s3":
        yield f"{name}: Fargate takes configuration files of the image only"
    if (router.get("healthCheck") or {"command": ["CMD"]})["command"][0] == "CMD-SHELL" and "pillion" in router["image"]:
        yield f"{name}: the image has no shell"
    given = {pair["name"]: pair["value"] for pair in router.get("environment", [])}.get("PILLION_STOP_TIMEOUT")
    if given is not None and given != f"{router.get('stopTimeout', 30)}s":
        yield f"{name}: PILLION_STOP_TIMEOUT is not the stopTimeout"
    if given is None and router.get("stopTimeout", 30) != 30:
        yield f"{name}: the stopTimeout is not told by PILLION_STOP_TIMEOUT"
    for container in containers:
        if container is not router and container.get("stopTimeout", 30) > router.get("stopTimeout", 30):
            yield f"{container['name']}: takes longer to stop than its log router"


def problems(task):
    report = ParamValidator().validate(task, SHAPE)
    if report.has_errors():
        return report.generate_report().splitlines()
    return [*outside_enumerations(task, SHAPE), *against_rules(task)]


def planted():
    """Mistakes: what is done to the router, the app or the task, and a word of what must be said about it."""
    router = lambda **fields: lambda task: task["containerDefinitions"][0].update(fields)
    app = lambda **fields: lambda task: task["containerDefinitions"][1].update(fields)
    whole = lambda **fields: lambda task: task.update(fields)
    yield router(helthCheck={}), "helthCheck"
    yield router(essential="yes"), "essential"
    yield router(firelensConfiguration={"type": "fluent-bit"}), "none of"
    yield router(dependsOn=[{"containerName": "web", "condition": "START"}]), "depends on something"
    yield router(logConfiguration={"logDriver": "awsfirelens"}), "through itself"
    yield router(healthCheck={"command": ["/pillion", "healthcheck"]}), "begins with CMD"
    yield router(healthCheck={"command": ["CMD-SHELL", "curl localhost"]}), "no shell"
    yield router(stopTimeout=20), "longer to stop"
    yield router(stopTimeout=90), "PILLION_STOP_TIMEOUT"
    yield router(stopTimeout=500), "120 at most"
    yield router(restartPolicy={"enabled": True, "restartAttemptPeriod": 10}), "60 to 1800"
    yield router(memoryReservation=4096), "more memory"
    yield app(dependsOn=[{"containerName": "log_router", "condition": "READY"}]), "none of"
    yield app(dependsOn=[{"containerName": "router", "condition": "START"}]), "not there"
    yield app(dependsOn=[{"containerName": "web", "condition": "HEALTHY"}]), "no health check"
    yield app(name="log_router"), "one name"
    yield app(logConfiguration={"logDriver": "json-file"}), "no log driver"
    yield app(firelensConfiguration={"type": "fluentbit"}), "more than one"
    yield lambda task: task["containerDefinitions"][0].pop("firelensConfiguration"), "without a log router"
    yield lambda task: task["containerDefinitions"][1]["logConfiguration"]["options"].pop("Name"), "no Name"
    yield whole(cpu="256", memory="4096"), "Fargate has no"
    yield whole(networkMode="bridge"), "awsvpc"
    yield lambda task: task.pop("executionRoleArn"), "execution role"


def of_the_linter():
    """The fields that `pillion lint` knows, compared with botocore's."""
    source = (ROOT / "agent/src/taskdef/lint/shape.rs").read_text()
    for name, shape in (("TASK", SHAPE), ("CONTAINER", SHAPE.members["containerDefinitions"].member)):
        listed = source.split(f"const {name}: ")[1].split("];")[0].split("= [")[1]
        known = {word.strip().strip('"') for word in listed.split(",") if word.strip()}
        if known != set(shape.members):
            yield f"shape.rs, {name}: differs from botocore's model in {sorted(known ^ set(shape.members))}"


def main(names):
    files = [pathlib.Path(name) for name in names]
    files = files or sorted([*ROOT.glob("task-definitions/*.json"), *ROOT.glob("examples/*task*.json"), *ROOT.glob("examples/*/task.json")])
    found = [f"{file.name}: {problem}" for file in files for problem in problems(json.loads(file.read_text()))]
    found += of_the_linter()
    good = json.loads((ROOT / "task-definitions/web-firelens.json").read_text())
    mistakes = 0
    for plant, word in planted():
        task = copy.deepcopy(good)
        plant(task)
        mistakes += 1
        said = problems(task)
        if not any(word in problem for problem in said):
            found.append(f"a planted mistake was not found: {word} in {said}")
    print("\n".join(found) or f"{len(files)} task definitions are good; all {mistakes} planted mistakes were found")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
