"""One client of each AWS service, however many modules ask for it."""

from functools import cache

import boto3

client = cache(boto3.client)
