def test_x(recorded):
    import shutil

    shutil.rmtree("/tmp/recorded", ignore_errors=True)
    shutil.copytree(recorded, "/tmp/recorded")
