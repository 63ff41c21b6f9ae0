"""Compares the local API with boto3: what a program gets that speaks to AWS's agent, or to the Lambda extension, and what the SDK
gets of the same secrets and parameters.

    python compare_answers.py --aws http://127.0.0.1:5000 --agent http://127.0.0.1:2773 --token FILE --prefix UNIQUE

It makes what it compares under the prefix. Prints one line for each comparison, and exits 1 if any of them differs.
"""

import argparse
import base64
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore.exceptions import ClientError

ACCESS = {"region_name": "us-east-1", "aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "canary/comparer"}
TEXT = json.dumps({"username": "app", "password": "canary-text \"#?/\\ é \u0001 \U0001f511"})
# The order in which AWS's agent writes them.
ORDER = ["ARN", "Name", "VersionId", "SecretString", "SecretBinary", "VersionStages", "CreatedDate"]
BINARY = b"canary-binary \x00\xff\xfe" + bytes(range(256))


class Agent:
    """As the pages of AWS's agent and of the extension show it: urllib and a header."""

    def __init__(self, url, token):
        self.url, self.headers = url, {"X-Aws-Parameters-Secrets-Token": open(token).read().strip()}

    def get(self, path, **query):
        if query:
            path += "?" + urllib.parse.urlencode(query)
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=self.headers), timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


class Comparison:
    def __init__(self):
        self.count = self.different = 0

    def same(self, what, ours, theirs):
        self.count += 1
        if ours != theirs:
            self.different += 1
            # Not the values: this is the log of a test run.
            print(f"DIFFERENT {what}: {shape(ours)} here, {shape(theirs)} with boto3")
        else:
            print(f"same {what}")


def shape(value):
    """What may be said of a value that must not be shown."""
    if isinstance(value, dict):
        return {key: shape(value) for key, value in value.items()}
    if isinstance(value, (list, tuple)):
        return [shape(value) for value in value]
    return "a secret" if "canary" in str(value) else value


def secret(answer):
    """boto3's answer as the agent of AWS writes it in JSON."""
    said = {key: value for key, value in answer.items() if key != "ResponseMetadata"}
    if "SecretBinary" in said:
        said["SecretBinary"] = base64.b64encode(said["SecretBinary"]).decode()
    # AWS's agent says it as text in seconds; boto3 knows it to the microsecond.
    said["CreatedDate"] = round(said["CreatedDate"].timestamp(), 3)
    return said


def ours(answer):
    assert isinstance(answer["CreatedDate"], str), "CreatedDate is text"
    return answer | {"CreatedDate": round(float(answer["CreatedDate"]), 3)}


def compare_secrets(comparison, agent, aws, prefix):
    text, binary = prefix + "/text", prefix + "/binary"
    first = aws.create_secret(Name=text, SecretString=TEXT)
    aws.create_secret(Name=binary, SecretBinary=BINARY)
    second = aws.put_secret_value(SecretId=text, SecretString=TEXT + "2", VersionStages=["AWSCURRENT", "BLUE"])
    # Without a stage moto says what was put last; the agent always says AWSCURRENT, as AWS means it.
    plain = {"VersionStage": "AWSCURRENT"}
    arn = first["ARN"]
    for what, ask, said in [
        ("a secret by name", {"secretId": text}, {"SecretId": text} | plain),
        ("a secret by ARN", {"secretId": arn}, {"SecretId": arn} | plain),
        ("a secret by its ARN without the last characters", {"secretId": arn[:-7]}, {"SecretId": arn[:-7]} | plain),
        ("a binary secret", {"secretId": binary}, {"SecretId": binary} | plain),
        ("the stage before", {"secretId": text, "versionStage": "AWSPREVIOUS"}, {"SecretId": text, "VersionStage": "AWSPREVIOUS"}),
        ("a stage of one's own", {"secretId": text, "versionStage": "BLUE"}, {"SecretId": text, "VersionStage": "BLUE"}),
        ("a version", {"secretId": text, "versionId": first["VersionId"]}, {"SecretId": text, "VersionId": first["VersionId"]}),
        ("a version and its stage",
            {"secretId": text, "versionId": second["VersionId"], "versionStage": "AWSCURRENT"},
            {"SecretId": text, "VersionId": second["VersionId"], "VersionStage": "AWSCURRENT"}),
    ]:
        theirs = secret(aws.get_secret_value(**said))
        status, answer = agent.get("/secretsmanager/get", **ask)
        comparison.same(f"{what}: order of members", list(answer), [name for name in ORDER if name in theirs])
        comparison.same(what, (status, ours(answer) if status == 200 else answer), (200, theirs))
    theirs = secret(aws.get_secret_value(SecretId=text, **plain))
    status, answer = agent.get("/v1/" + text)
    comparison.same("a secret by path", (status, ours(answer)), (200, theirs))
    # After a change: from memory, and with a look.
    aws.put_secret_value(SecretId=text, SecretString=TEXT + "3")
    status, answer = agent.get("/secretsmanager/get", secretId=text)
    comparison.same("a secret that changed, from memory", (status, ours(answer)), (200, theirs))
    theirs = secret(aws.get_secret_value(SecretId=text, **plain))
    status, answer = agent.get("/secretsmanager/get", secretId=text, refreshNow="true")
    comparison.same("a secret that changed, with a look", (status, ours(answer)), (200, theirs))
    try:
        aws.get_secret_value(SecretId=prefix + "/nobody", **plain)
        raise AssertionError("there is no such secret")
    except ClientError as error:
        code = error.response["Error"]["Code"]
    # moto answers with 404 what is 400 at AWS; the code is the same.
    _, answer = agent.get("/secretsmanager/get", secretId=prefix + "/nobody")
    comparison.same("a secret that is not there", answer["__type"], code)


def compare_parameters(comparison, agent, aws, prefix):
    name, sealed = f"/{prefix}/plain", f"/{prefix}/sealed"
    for text in ["canary-one", "canary-two", "canary-three"]:
        aws.put_parameter(Name=name, Value=text, Type="String", Overwrite=True)
    aws.put_parameter(Name=sealed, Value="canary-sealed", Type="SecureString")
    aws.label_parameter_version(Name=name, ParameterVersion=2, Labels=["blue"])
    arn = aws.get_parameter(Name=name)["Parameter"]["ARN"]
    for what, ask, said in [
        ("a parameter", {"name": name}, {"Name": name}),
        ("a parameter by ARN", {"name": arn}, {"Name": arn}),
        ("a version of a parameter", {"name": name, "version": "1"}, {"Name": name + ":1"}),
        ("a label of a parameter", {"name": name, "label": "blue"}, {"Name": name + ":blue"}),
        ("a sealed parameter, opened", {"name": sealed, "withDecryption": "true"}, {"Name": sealed, "WithDecryption": True}),
        ("a sealed parameter, as it is", {"name": sealed}, {"Name": sealed, "WithDecryption": False}),
    ]:
        theirs = aws.get_parameter(**said)["Parameter"]
        status, answer = agent.get("/systemsmanager/parameters/get", **ask)
        mine = answer.get("Parameter", answer)
        # Those that the agent says. It leaves out Type and DataType (docs/secrets.md), and the service's Selector.
        for field in ["ARN", "Name", "Value", "Version"]:
            comparison.same(f"{what}: {field}", (status, mine.get(field)), (200, theirs[field]))


def main():
    parser = argparse.ArgumentParser()
    for name in ["aws", "agent", "token", "prefix"]:
        parser.add_argument("--" + name, required=True)
    arguments = parser.parse_args()
    comparison, agent = Comparison(), Agent(arguments.agent, arguments.token)
    client = lambda service: boto3.client(service, endpoint_url=arguments.aws, **ACCESS)
    compare_secrets(comparison, agent, client("secretsmanager"), arguments.prefix)
    compare_parameters(comparison, agent, client("ssm"), arguments.prefix)
    print(f"{comparison.count} compared, {comparison.different} different")
    sys.exit(1 if comparison.different else 0)


if __name__ == "__main__":
    main()
