"""The page in a real browser, over a real server: what a person sees and does."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from temporec.recommend.base import Recommender
from temporec.store.versions import Home
from tests.serving.conftest import HOSTILE
