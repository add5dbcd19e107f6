"""Users of SeaweedFS with policies of their own, which it enforces with their resources and conditions."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from .process import Server

__all__ = ["environment_of"]


def environment_of(server: Server, policy: Mapping[str, Any]) -> dict[str, str]:
    """Make a user with one policy; return the environment variables that reach the server as that user."""
    import botocore.session

    client = botocore.session.get_session().create_client(
        "iam",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=server.options["key"],
        aws_secret_access_key=server.options["secret"],
    )
    try:
        user = f"user-{secrets.token_hex(6)}"
        client.create_user(UserName=user)
        key = client.create_access_key(UserName=user)["AccessKey"]
        client.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=json.dumps(policy))
    finally:
        client.close()
    return server.environment | {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
