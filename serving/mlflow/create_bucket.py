"""Create the bucket of MLflow's artifacts, unless it is there."""

import os

import boto3


def main() -> None:
    """Address and name from the environment, keys from AWS_SHARED_CREDENTIALS_FILE."""
    name = os.environ.get("BUCKET", "mlflow")
    store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    if name not in [bucket["Name"] for bucket in store.list_buckets()["Buckets"]]:
        store.create_bucket(Bucket=name)


if __name__ == "__main__":
    main()
