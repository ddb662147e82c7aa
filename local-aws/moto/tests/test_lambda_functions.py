"""What GetFunction tells."""

import io
import urllib.request
import zipfile

from tests.support import ROLE, GlueTest, unique


class Code(GlueTest):
    def test_the_code_can_be_fetched_where_its_location_says(self) -> None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("bootstrap", "#!/bin/sh")
        name, client = unique("function"), self.client("lambda")
        client.create_function(
            FunctionName=name,
            Role=ROLE,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Code={"ZipFile": buffer.getvalue()},
        )
        location = client.get_function(FunctionName=name)["Code"]["Location"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(location) as answer:
            self.assertEqual(answer.read(), buffer.getvalue())
