"""django-link-shortener as it comes, over PostgreSQL, served by one waitress process.

`python serve.py migrate` makes its tables; `python serve.py PORT` serves. DATABASE_URL says where.
"""

import logging
import os
import sys
from urllib.parse import unquote, urlsplit

from django.conf import settings

THREADS = 8
# They would tell of every request that waits for a thread or is for no link.
logging.getLogger("django.request").setLevel(logging.ERROR)
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

database = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": database.path[1:],
            "USER": database.username,
            "PASSWORD": unquote(database.password or ""),
            "HOST": database.hostname,
            "PORT": database.port,
            "CONN_MAX_AGE": None,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "shortener"],
    # It tells the length of an answer, without which waitress closes the connection.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    LOGGING_CONFIG=None,
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a benchmark",
    USE_TZ=True,
)

import django  # noqa: E402

django.setup()

from django.urls import path  # noqa: E402
from shortener.views import expand  # noqa: E402

urlpatterns = [path("c/<str:link>", expand)]

if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
    else:
        from django.core.wsgi import get_wsgi_application
        from waitress import serve

        serve(get_wsgi_application(), listen=f"127.0.0.1:{sys.argv[1]}", threads=THREADS, connection_limit=1000)
