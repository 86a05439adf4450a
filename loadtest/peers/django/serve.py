"""django-link-shortener or django-clickify as it comes, over PostgreSQL, served by one waitress process.

`python serve.py APP migrate` makes its tables; `python serve.py APP PORT` serves. APP is its Django app, `shortener`
or `clickify`; DATABASE_URL says where.
"""

import logging
import os
import sys
from urllib.parse import unquote, urlsplit

from django.conf import settings

APP, ACTION = sys.argv[1:]
THREADS = 8
# They would tell of every request that waits for a thread or is for no link.
logging.getLogger("django.request").setLevel(logging.ERROR)
logging.getLogger("waitress.queue").setLevel(logging.ERROR)

database = urlsplit(os.environ["DATABASE_URL"])
settings.configure(
    ALLOWED_HOSTS=["*"],
    # All clicks here come from one address, and nothing may be asked of the network.
    CLICKIFY_ENABLE_RATELIMIT=False,
    CLICKIFY_GEOLOCATION=False,
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
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", APP],
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

if APP == "clickify":
    from clickify.views import track_click

    urlpatterns = [path("c/<slug:slug>", track_click)]
else:
    from shortener.views import expand

    urlpatterns = [path("c/<str:link>", expand)]

if __name__ == "__main__":
    if ACTION == "migrate":
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
    else:
        from django.core.wsgi import get_wsgi_application
        from waitress import serve

        serve(get_wsgi_application(), listen=f"127.0.0.1:{ACTION}", threads=THREADS, connection_limit=1000)
